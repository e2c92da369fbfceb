package wire

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/agwgo/agw/internal/origin"
	"github.com/agwgo/agw/tokensource"
)

// ParseEndpoint returns the URL that a configuration names in a field: an absolute
// https URL, or an http one to this machine itself or, if allowed, to any. White
// space around it is ignored; user info and a fragment (RFC 6749, section 3.2) are
// errors. The error names the field unless that is "", does not quote the URL, and
// is a [tokensource.ErrInsecureURL] if the URL is a plain http one.
func ParseEndpoint(field, raw string, allowPlainHTTP bool) (*url.URL, error) {
	u, err := parseEndpoint(strings.TrimSpace(raw), allowPlainHTTP)
	if err != nil && field != "" {
		err = fmt.Errorf("%s: %w", field, err)
	}
	return u, err
}

func parseEndpoint(raw string, allowPlainHTTP bool) (*url.URL, error) {
	u, err := url.Parse(raw)
	switch {
	case raw == "":
		return nil, errors.New("empty")
	case err != nil: // its text quotes the URL
		return nil, errors.New("not a URL")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("not an absolute https URL")
	case u.Hostname() == "":
		return nil, errors.New("the URL has no host")
	case u.User != nil:
		return nil, errors.New("the URL has user info")
	case u.Fragment != "":
		return nil, errors.New("the URL has a fragment")
	case !origin.Secure(u) && !allowPlainHTTP:
		return nil, fmt.Errorf("%w (%s)", tokensource.ErrInsecureURL, u.Host)
	}
	return u, nil
}

// display returns u without what may be secret.
func display(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}
