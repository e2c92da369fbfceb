package lob

import (
	"errors"
	"fmt"
	"strings"
)

// ErrNoTenant: neither the call nor the configuration names a tenant.
var ErrNoTenant = errors.New("agw: no tenant: name one with tokensource.WithTenant, or configure Tenant or TenantFunc")

// maxLabel is the length of the longest DNS label (RFC 1035, section 2.3.4).
const maxLabel = 63

// A TenantError says why a name is not that of a tenant. Nothing was sent.
type TenantError struct {
	Tenant string // as it was given
	Rule   string // the rule that it breaks
}

// Error quotes the name, or its beginning if it is too long.
func (e *TenantError) Error() string {
	shown, more := e.Tenant, ""
	if len(shown) > maxLabel+1 {
		shown, more = strings.ToValidUTF8(shown[:maxLabel+1], ""), "..."
	}
	return fmt.Sprintf("agw: %q%s is not the subdomain of a tenant, such as acme: %s", shown, more, e.Rule)
}

// checkTenant returns a [*TenantError] unless tenant is one DNS label. It is called for
// every call.
func checkTenant(tenant string) error {
	if len(tenant) == 0 || len(tenant) > maxLabel {
		return &TenantError{tenant, "it must have 1 to 63 characters"}
	}
	for i := range len(tenant) {
		c := tenant[i]
		alphanumeric := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !alphanumeric && c != '-' {
			return &TenantError{tenant, "it must consist of ASCII letters, digits and hyphens"}
		}
	}
	if tenant[0] == '-' || tenant[len(tenant)-1] == '-' {
		return &TenantError{tenant, "it must begin and end with a letter or a digit"}
	}
	return nil
}
