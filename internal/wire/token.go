package wire

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/agwgo/agw/cache"
	"github.com/agwgo/agw/tokensource"
)

// Token sends a token request and returns the bearer token that it is answered
// with (RFC 6749, section 5.1). Errors are those of [Client.Do]. An answer without
// an access token that can be sent is one that makes no sense, so a passing one; a
// token of another type is a permanent one (section 7.1).
func (c *Client) Token(ctx context.Context, r Request) (cache.TokenResponse, error) {
	body, err := c.Do(ctx, r)
	if err != nil {
		return cache.TokenResponse{}, err
	}
	report := &tokensource.Error{Op: r.Op, StatusCode: http.StatusOK, Kind: tokensource.Passing}
	if u, err := url.Parse(r.URL); err == nil {
		report.URL = display(u)
	}
	token, err := cache.ParseTokenResponse(body)
	if err == nil {
		_, err = tokensource.NewGrant(token.AccessToken, time.Time{}, nil)
	}
	if err == nil && token.TokenType != "" && !strings.EqualFold(token.TokenType, "bearer") {
		report.Kind, err = tokensource.Permanent, errors.New("the token is not of type Bearer")
	}
	if err != nil {
		report.Err = err
		return cache.TokenResponse{}, report
	}
	return token, nil
}
