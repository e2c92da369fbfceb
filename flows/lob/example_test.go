package lob_test

import (
	"context"
	"fmt"
	"log"

	"github.com/agwgo/agw/agwtest"
	"github.com/agwgo/agw/flows"
	"github.com/agwgo/agw/flows/lob"
	"github.com/agwgo/agw/tokensource"
)

// A flow on its own: a source of tokens, and what a tenant offers.
func Example() {
	srv, err := agwtest.Start(agwtest.Options{}) // in place of the services
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()

	b := srv.DestinationBinding()
	creds := &lob.Credentials{ // or lob.Load()
		ClientID: b["clientid"], ClientSecret: b["clientsecret"],
		URL: b["url"], URI: b["uri"], IdentityZone: b["identityzone"],
		Landscape: "agwtest",
	}
	flow, err := creds.NewFlow(flows.Options{ServiceTransport: srv.Transport()})
	if err != nil {
		log.Fatal(err)
	}
	defer flow.CloseIdleConnections()
	src, err := tokensource.New(flow, tokensource.Options{})
	if err != nil {
		log.Fatal(err)
	}

	ctx := tokensource.WithTenant(context.Background(), "acme")
	token, err := src.TokenContext(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.Type())

	servers, err := flow.MCPServers(ctx)
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range servers {
		fmt.Println(s.ORDID)
	}
	// Output:
	// Bearer
	// sap.s4:apiAccess:salesOrder:v1
	// sap.sf:apiAccess:employee:v2
}
