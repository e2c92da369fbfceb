package tokenservice

import (
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/agwgo/agw/internal/origin"
	"github.com/agwgo/agw/tokensource"
)

// ParseURL returns the URL of a service as somebody has configured it: an absolute https
// URL, or an http one to this machine or, if allowPlainHTTP is set, to any. White space
// around it is ignored; user info and a fragment (RFC 6749, section 3.2) are errors. An
// error does not quote the URL, and is a [tokensource.ErrInsecureURL] if that is a plain
// http one.
func ParseURL(raw string, allowPlainHTTP bool) (*url.URL, error) {
	raw = strings.TrimSpace(raw)
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
		return nil, fmt.Errorf("%w (%s): use https, or DangerouslyAllowPlainHTTP if something else protects it", tokensource.ErrInsecureURL, u.Host)
	}
	return u, nil
}

// DisplayURL returns what may be shown of u: its scheme, host and path.
func DisplayURL(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}).String()
}
