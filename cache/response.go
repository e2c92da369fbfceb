package cache

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A TokenResponse is what a token service answered (RFC 6749, section 5.1), as far
// as it matters to a cache. It prints and marshals as a placeholder, never as the
// tokens it holds.
type TokenResponse struct {
	AccessToken string
	TokenType   string // as received; "" counts as "Bearer"
	IDToken     string // read for its exp claim only

	// ExpiresAt and ExpiresIn are the JSON values as received, nil if absent.
	// See [Settings.Lifetime] for the forms that are understood.
	ExpiresAt, ExpiresIn json.RawMessage
}

// ParseTokenResponse reads the JSON object that a token service answered. Members
// are matched to the letter; unknown ones are ignored, and of a member that
// appears twice the last one counts. An error never quotes the answer.
func ParseTokenResponse(body []byte) (TokenResponse, error) {
	var members map[string]json.RawMessage
	if !utf8.Valid(body) {
		return TokenResponse{}, errors.New("the answer is not UTF-8")
	}
	if err := json.Unmarshal(body, &members); err != nil || members == nil {
		return TokenResponse{}, errors.New("the answer is not a JSON object")
	}
	r := TokenResponse{ExpiresAt: members["expires_at"], ExpiresIn: members["expires_in"]}
	var err error
	if r.AccessToken, err = stringMember(members, "access_token"); err != nil {
		return TokenResponse{}, err
	}
	if r.TokenType, err = stringMember(members, "token_type"); err != nil {
		return TokenResponse{}, err
	}
	r.IDToken, _ = stringMember(members, "id_token") // a hint: skipped if it is no string
	return r, nil
}

// stringMember returns a string member; "" if it is absent or null.
func stringMember(members map[string]json.RawMessage, name string) (value string, err error) {
	raw := members[name]
	if raw == nil {
		return "", nil
	}
	if json.Unmarshal(raw, &value) != nil {
		return "", fmt.Errorf("%s is not a string", name)
	}
	return value, nil
}

// Seconds returns n as the JSON value of expires_in or expires_at.
func Seconds(n int64) json.RawMessage { return strconv.AppendInt(nil, n, 10) }

// parseSeconds understands a JSON number, or a JSON string that holds a decimal
// number with or without spaces around it. A number too large for a float64 is
// the largest one; the words for infinities and not-a-number are no numbers.
func parseSeconds(raw json.RawMessage) (float64, bool) {
	text, ok := scalar(raw)
	if !ok || strings.Trim(text, "0123456789+-.eE") != "" || !strings.ContainsAny(text, "0123456789") {
		return 0, false
	}
	sec, err := strconv.ParseFloat(text, 64)
	if errors.Is(err, strconv.ErrRange) {
		return math.Copysign(math.MaxFloat64, sec), true
	}
	return sec, err == nil
}

// scalar returns the text of a JSON number, or of a JSON string without the
// spaces around it.
func scalar(raw json.RawMessage) (string, bool) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return "", false
	}
	if c := raw[0]; c == '-' || '0' <= c && c <= '9' {
		return string(raw), true
	}
	var text string
	if raw[0] != '"' || json.Unmarshal(raw, &text) != nil {
		return "", false
	}
	return strings.TrimSpace(text), true
}

// isoLayouts are the forms of ISO 8601 that occur in the wild; a fraction after
// the seconds is understood by each of them.
var isoLayouts = [...]string{
	"2006-01-02T15:04:05Z07:00",
	"2006-01-02T15:04:05Z0700",
	"2006-01-02T15:04:05Z07",
	"2006-01-02T15:04:05",
	"2006-01-02T15:04Z07:00",
	"2006-01-02T15:04",
}

// parseISO8601 understands a JSON string that holds a date and time. Without an
// offset it is UTC.
func parseISO8601(raw json.RawMessage) (time.Time, bool) {
	text, ok := scalar(raw)
	text = strings.ToUpper(text) // first, for it can change the length
	if !ok || len(text) < len("2006-01-02T15:04") {
		return time.Time{}, false
	}
	if text[10] == ' ' {
		text = text[:10] + "T" + text[11:]
	}
	for _, layout := range isoLayouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// jwtClaim returns a claim of a JWT's payload, unverified; nil if token is no JWT
// (two parts: unsecured without its last dot; three: JWS; five: JWE, whose second
// part is no JSON and so tells nothing) or has no such claim.
func jwtClaim(token, claim string) json.RawMessage {
	parts := strings.Split(token, ".")
	if n := len(parts); n != 2 && n != 3 && n != 5 {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil || !utf8.Valid(payload) {
		return nil
	}
	var claims map[string]json.RawMessage
	if json.Unmarshal(payload, &claims) != nil {
		return nil
	}
	return claims[claim]
}

const placeholder = "cache.TokenResponse{[redacted]}"

// Format prints a placeholder, whatever the verb.
func (TokenResponse) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, placeholder) }

// MarshalJSON returns a placeholder.
func (TokenResponse) MarshalJSON() ([]byte, error) { return json.Marshal(placeholder) }

// LogValue returns a placeholder.
func (TokenResponse) LogValue() slog.Value { return slog.StringValue(placeholder) }
