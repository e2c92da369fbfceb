package transport_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"golang.org/x/oauth2"

	"github.com/agwgo/agw/tokensource"
	"github.com/agwgo/agw/transport"
)

// Any oauth2.TokenSource will do, together with the URL of the gateway.
func ExampleNew() {
	gateway := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Method, r.URL, r.Header.Get("Authorization"))
	}))
	defer gateway.Close()
	base := transport.NewBase()
	base.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
	base.TLSClientConfig.RootCAs.AddCert(gateway.Certificate())

	token := oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "some-token"})
	src, err := tokensource.Fixed(token, gateway.URL+"/base")
	if err != nil {
		fmt.Println(err)
		return
	}
	client := transport.New(src, transport.Options{Base: base}).Client()
	defer client.CloseIdleConnections()

	resp, err := client.Get("https://agent-gateway.invalid/v1/mcp/sap.s4:apiAccess:salesOrder:v1/some-tenant")
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = resp.Body.Close()

	_, err = client.Get("https://elsewhere.example/")
	fmt.Println(errors.Is(err, transport.ErrForeignHost))
	// Output:
	// GET /base/v1/mcp/sap.s4:apiAccess:salesOrder:v1/some-tenant Bearer some-token
	// true
}
