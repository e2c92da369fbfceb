package agwtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Audiences of the tokens that the double signs.
const (
	audienceUser        = "urn:agwtest:user-assertion"
	audienceGateway     = "urn:sap:identity:application:provider:name:agent-gateway"
	audienceDestination = "urn:agwtest:destination-service"
)

var (
	errMalformed = errors.New("not a signed JSON Web Token")
	errSignature = errors.New("the signature is not valid")
	errExpired   = errors.New("the token has expired")
	errAudience  = errors.New("the token is meant for another audience")
)

// claims are those of the tokens that the double signs. The standard claims exp
// and iat, in seconds, are for clients only; the double goes by its own claim in
// microseconds, as tokens may live for less than a second.
type claims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	User     string `json:"user_name,omitempty"`
	Client   string `json:"client_id,omitempty"`
	Tenant   string `json:"zid"`
	Audience string `json:"aud"`
	ID       string `json:"jti"`
	Issued   int64  `json:"iat"`
	Expires  int64  `json:"exp"`
	Expiry   int64  `json:"agwtest_expiry"`
	Gateway  int    `json:"agwtest_gateway,omitempty"`
}

func (c claims) caller() Caller {
	return Caller{Client: c.Client, User: c.User, Tenant: c.Tenant, TokenID: c.ID}
}

// number is the running number of the token, 0 if it has none.
func (c claims) number() uint64 {
	n, _ := strconv.ParseUint(strings.TrimPrefix(c.ID, "t"), 10, 64)
	return n
}

// signer signs and verifies JSON Web Tokens with ES256 (RFC 7518 section 3.4).
type signer struct {
	key    *ecdsa.PrivateKey
	issuer string
	last   atomic.Uint64 // number of the newest token
}

func newSigner(issuer string) (*signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("agwtest: token key: %w", err)
	}
	return &signer{key: key, issuer: issuer}, nil
}

// sign completes c with issuer, number and times and returns the signed token in
// compact serialization.
func (s *signer) sign(c claims, lifetime time.Duration) (token string, expiry time.Time) {
	now := time.Now()
	expiry = now.Add(lifetime)
	c.Issuer, c.ID = s.issuer, "t"+strconv.FormatUint(s.last.Add(1), 10)
	c.Issued, c.Expires, c.Expiry = now.Unix(), expiry.Unix(), expiry.UnixMicro()
	body, _ := json.Marshal(c) // strings and numbers never fail
	signed := encodeSegment([]byte(`{"alg":"ES256","typ":"JWT"}`)) + "." + encodeSegment(body)
	digest := sha256.Sum256([]byte(signed))
	r, t, err := ecdsa.Sign(rand.Reader, s.key, digest[:])
	if err != nil {
		panic("agwtest: signing a token: " + err.Error()) // only a bad key can fail
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	t.FillBytes(signature[32:])
	return signed + "." + encodeSegment(signature), expiry
}

// verify returns the claims of a token that s signed for the audience and that
// has not expired. With errExpired and errAudience the claims are valid, too.
func (s *signer) verify(token, audience string) (claims, error) {
	c, err := peek(token)
	if err != nil {
		return claims{}, err
	}
	cut := strings.LastIndexByte(token, '.')
	signature, err := decodeSegment(token[cut+1:])
	if err != nil || len(signature) != 64 {
		return claims{}, errMalformed
	}
	digest := sha256.Sum256([]byte(token[:cut]))
	r, t := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	switch {
	case !ecdsa.Verify(&s.key.PublicKey, digest[:], r, t):
		return claims{}, errSignature
	case c.Audience != audience:
		return c, errAudience
	case !time.Now().Before(time.UnixMicro(c.Expiry)):
		return c, errExpired
	}
	return c, nil
}

// peek reads the claims of a token without verifying it.
func peek(token string) (claims, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return claims{}, errMalformed
	}
	body, err := decodeSegment(parts[1])
	if err != nil {
		return claims{}, err
	}
	var c claims
	if err := json.Unmarshal(body, &c); err != nil {
		return claims{}, errMalformed
	}
	return c, nil
}

func encodeSegment(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// decodeSegment accepts what encodeSegment writes and nothing that merely
// decodes to the same: package base64 skips line breaks.
func decodeSegment(text string) ([]byte, error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return nil, errMalformed
	}
	return b, nil
}

// bearer is the token of an Authorization header of the scheme Bearer, whose
// case does not matter (RFC 9110 section 11.1).
func bearer(r *http.Request) (token string, ok bool) {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", false
	}
	return token, true
}

// User is a user on whose behalf an agent acts.
type User struct {
	// Name is the user's name, which the gateway reports; "" means "user".
	Name string
	// Tenant is the user's tenant; "" means "provider", the identity zone.
	Tenant string
	// Lifetime of the user's JWT; 0 means an hour, and a negative one makes an
	// expired JWT.
	Lifetime time.Duration
}

// UserToken is a signed JWT of a user as an agent receives it, a new one on
// each call.
func (s *Server) UserToken(u User) string {
	name := orDefault(u.Name, "user")
	token, _ := s.signer.sign(claims{
		Subject: name, User: name, Tenant: orDefault(u.Tenant, provider), Audience: audienceUser,
	}, orDefault(u.Lifetime, time.Hour))
	return token
}
