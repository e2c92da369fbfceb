package transport

import (
	"crypto/x509"
	"errors"
	"net"
	"time"

	"github.com/agwgo/agw/internal/origin"
	"github.com/agwgo/agw/internal/redact"
	"github.com/agwgo/agw/internal/route"
	"github.com/agwgo/agw/tokensource"
)

var (
	// ErrForeignHost: the URL has another scheme, host or port than the gateway. Nothing
	// was sent. See [Options].PassForeignHosts. If the gateway is known from an earlier
	// token only, and no token could be had, the error of the token source is wrapped, too.
	ErrForeignHost = route.ErrForeignHost
	// ErrOpaqueURL: the URL has a scheme that no slash follows. A relative reference that
	// begins with an ORD id, such as sap.s4:apiAccess:order:v1, is parsed like that.
	ErrOpaqueURL = route.ErrOpaqueURL
	// ErrInvalidURL: the URL is what agw.Gateway.URL returns for a part of which no URL can
	// be made. The text names the part. Nothing was sent.
	ErrInvalidURL = route.ErrInvalidURL
	// ErrPathEscapes: the path has a ".." segment and could lead out of the gateway's own
	// path. The segment may be percent-encoded (once or more often), delimited by
	// backslashes, or followed by path parameters.
	ErrPathEscapes = route.ErrPathEscapes
	// ErrNoGateway: the token source returned a token without the URL of its gateway.
	ErrNoGateway = route.ErrNoGateway
)

var (
	errNoSource = errors.New("agw: the transport has no source of tokens (make it by agw.New, or by transport.New with a source)")
	errNoURL    = errors.New("agw: the request has no URL")
)

// A stepError says at which step of a request err occurred. It has Timeout and Temporary
// because the [url.Error] in which an http.Client wraps it does not look deeper.
type stepError struct {
	step   string
	err    error
	advice string // what to do; "" if err says it, or nobody knows
}

func (e *stepError) Error() string {
	text := e.step + ": " + e.err.Error()
	if e.advice != "" {
		text += " (" + e.advice + ")"
	}
	return text
}

func (e *stepError) Unwrap() error { return e.err }

// Timeout reports whether a deadline, of the caller or of the step, has passed.
func (e *stepError) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.As(e.err, &t) && t.Timeout()
}

// Temporary reports whether a later attempt may succeed.
func (e *stepError) Temporary() bool {
	var t interface{ Temporary() bool }
	return errors.As(e.err, &t) && t.Temporary()
}

// tokenError returns the error of a source that was to return a token.
func tokenError(err error) *stepError {
	e := &stepError{step: "get a token for the gateway", err: err}
	if errors.Is(err, tokensource.ErrExpired) {
		e.advice = "check this machine's clock, which says " + time.Now().UTC().Format(time.RFC3339)
	}
	return e
}

// sendError returns the error of a base that was to send out with token. It names the
// gateway, because a caller who used the placeholder does not know its host. An error whose
// text shows the token is replaced by its text without the token: net/http quotes malformed
// responses, and the gateway knows the token.
func sendError(out *outgoing, token *tokensource.Token, err error) error {
	if ended := out.request.Context().Err(); ended != nil && errors.Is(err, ended) {
		return err
	}
	e := &stepError{step: "gateway " + origin.String(&out.url), err: err}
	if secret := redact.New(token.Authorization()); secret.Shows(err.Error()) {
		e.err = errors.New("malformed response: " + secret.Clean(err.Error()))
	}
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
		network   *net.OpError
	)
	switch {
	case errors.As(err, &authority):
		e.advice = "if you trust it, add its authority to RootCAs, or to the file that SSL_CERT_FILE names"
	case errors.As(err, &host):
		e.advice = "check the gateway's URL"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		e.advice = "check this machine's clock; if it is right, the gateway needs another certificate"
	case errors.As(err, &network) && network.Op == "dial":
		e.advice = "check the gateway's URL and the network, and whether HTTPS_PROXY has to be set"
	case errors.As(err, &network) && network.Op == "proxyconnect":
		e.advice = "check HTTPS_PROXY and NO_PROXY"
	}
	return e
}
