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
	"maps"
	"math/big"
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

// claims is what the double reads from the tokens it signed. The standard
// claims exp and iat are for clients only, which may be shown odd ones; the
// double itself goes by the expiry that it noted, in microseconds.
type claims struct {
	Issuer   string `json:"iss"`
	Subject  string `json:"sub"`
	User     string `json:"user_name,omitempty"`
	Client   string `json:"client_id,omitempty"`
	Tenant   string `json:"zid"`
	Audience string `json:"aud"`
	ID       string `json:"jti"`
	Expiry   int64  `json:"agwtest_expiry"`
	Gateway  int    `json:"agwtest_gateway,omitempty"`
}

func (c claims) expiry() time.Time { return time.UnixMicro(c.Expiry) }

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

// issued is a token that was signed.
type issued struct {
	token  string // compact serialization
	expiry time.Time
	life   time.Duration // what it is answered to have left
}

// sign completes c with issuer, number and expiry, applies the overrides and
// signs. An override of nil removes the claim.
func (s *signer) sign(c claims, lifetime time.Duration, overrides map[string]any) (issued, error) {
	now := time.Now()
	expiry := now.Add(lifetime)
	c.Issuer, c.ID, c.Expiry = s.issuer, "t"+strconv.FormatUint(s.last.Add(1), 10), expiry.UnixMicro()
	payload := map[string]any{"iat": now.Unix(), "exp": expiry.Unix()}
	maps.Copy(payload, toMap(c))
	for name, value := range overrides {
		override(payload, name, value, expiry)
	}
	body, err := json.Marshal(payload)
	if err != nil {
		return issued{}, fmt.Errorf("agwtest: token claims: %w", err)
	}
	signed := encodeSegment([]byte(`{"alg":"ES256","typ":"JWT"}`)) + "." + encodeSegment(body)
	signature, err := s.signature(signed)
	return issued{token: signed + "." + signature, expiry: expiry, life: lifetime}, err
}

func (s *signer) signature(signed string) (string, error) {
	digest := sha256.Sum256([]byte(signed))
	r, t, err := ecdsa.Sign(rand.Reader, s.key, digest[:])
	if err != nil {
		return "", fmt.Errorf("agwtest: signing a token: %w", err)
	}
	raw := make([]byte, 64)
	r.FillBytes(raw[:32])
	t.FillBytes(raw[32:])
	return encodeSegment(raw), nil
}

// verify returns the claims of a token that s signed for the audience and that
// has not expired. With errExpired and errAudience the claims are valid too.
func (s *signer) verify(token, audience string) (claims, error) {
	c, err := peek(token)
	if err != nil {
		return claims{}, err
	}
	cut := strings.LastIndexByte(token, '.')
	raw, err := decodeSegment(token[cut+1:])
	if err != nil || len(raw) != 64 {
		return claims{}, errMalformed
	}
	digest := sha256.Sum256([]byte(token[:cut]))
	r, t := new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:])
	switch {
	case !ecdsa.Verify(&s.key.PublicKey, digest[:], r, t):
		return claims{}, errSignature
	case c.Audience != audience:
		return c, errAudience
	case !time.Now().Before(c.expiry()):
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

// toMap renders a struct as the JSON object that it marshals to.
func toMap(v any) map[string]any {
	m := map[string]any{}
	if body, err := json.Marshal(v); err == nil {
		decoder := json.NewDecoder(strings.NewReader(string(body)))
		decoder.UseNumber()
		_ = decoder.Decode(&m)
	}
	return m
}

// override sets a member of a JSON object: nil removes it, a function of the
// expiry computes it, anything else is the value.
func override(object map[string]any, name string, value any, expiry time.Time) {
	switch v := value.(type) {
	case nil:
		delete(object, name)
	case func(time.Time) any:
		object[name] = v(expiry)
	default:
		object[name] = v
	}
}
