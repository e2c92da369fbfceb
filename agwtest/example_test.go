package agwtest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/agwgo/agw/agwtest"
)

// The gateway is unavailable once, and then responds again.
func ExampleStart() {
	srv, err := agwtest.Start(agwtest.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	srv.Gateway.Inject(agwtest.Fault{Status: http.StatusServiceUnavailable, RetryAfter: "5"})

	transport := srv.Transport()
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	for range 2 {
		resp, err := client.Get(srv.GatewayURL())
		if err != nil {
			fmt.Println(err)
			return
		}
		resp.Body.Close()
		fmt.Printf("%d, retry after %q, challenge %q\n", resp.StatusCode,
			resp.Header.Get("Retry-After"), resp.Header.Get("WWW-Authenticate"))
	}
	fmt.Println(srv.Counts().Gateway)
	// Output:
	// 503, retry after "5", challenge ""
	// 401, retry after "", challenge "Bearer realm=\"agwtest\""
	// 2
}

// The token service says what is wrong with a request.
func ExampleServer_CustomerEnv() {
	srv, err := agwtest.Start(agwtest.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	transport := srv.Transport()
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	tokenURL := srv.CustomerEnv()["INTEGRATION_AUTH_URL"]
	resp, err := client.PostForm(tokenURL, url.Values{"client_id": {srv.ClientID()}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	fmt.Println(resp.Status)
	_, _ = io.Copy(os.Stdout, resp.Body)
	// Output:
	// 400 Bad Request
	// {"error":"invalid_request","error_description":"Accept is not application/json"}
}

// A handler behind the gateway learns from the verified token who calls.
func ExampleCallerFromContext() {
	srv, err := agwtest.Start(agwtest.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer srv.Close()
	srv.Handle("/greet", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, _ := agwtest.CallerFromContext(r.Context())
		fmt.Fprintf(w, "hello %s of %s", caller.User, caller.Tenant)
	}))
	transport := srv.Transport()
	defer transport.CloseIdleConnections()
	fmt.Println(callAs(srv, transport, agwtest.User{Name: "alice", Tenant: "tenant1"}, "/greet"))
	// Output: hello alice of tenant1
}

// callAs exchanges the user's JWT and calls the gateway, as an agent would.
func callAs(srv *agwtest.Server, base http.RoundTripper, user agwtest.User, path string) string {
	form := url.Values{
		"client_id":    {srv.ClientID()},
		"grant_type":   {jwtBearer},
		"resource":     {resource},
		"assertion":    {srv.UserToken(user)},
		"token_format": {"jwt"},
	}
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Accept": {"application/json"}}
	response := fetch(base, http.MethodPost, srv.CustomerEnv()["INTEGRATION_AUTH_URL"], header, form.Encode())
	var token struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(response), &token); err != nil {
		return err.Error()
	}
	return fetch(base, http.MethodGet, srv.GatewayURL()+path, http.Header{"Authorization": {"Bearer " + token.AccessToken}}, "")
}

func fetch(base http.RoundTripper, method, url string, header http.Header, form string) string {
	req, err := http.NewRequest(method, url, strings.NewReader(form))
	if err != nil {
		return err.Error()
	}
	req.Header = header
	resp, err := base.RoundTrip(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}
