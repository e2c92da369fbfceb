// Quickstart runs an agent loop through the Agent Gateway client: 1,000 calls from
// 8 workers, each on behalf of a user or under the system identity. It needs no
// account and no network: everything on the other side runs in this process.
//
//	go run ./examples/quickstart              # a customer agent: credentials file, mutual TLS
//	go run ./examples/quickstart -flow lob    # a LoB agent: Destination Service, five tenants
//	go run ./examples/quickstart -json        # the report, and one last line for programs
//	go run ./examples/quickstart -real /v1/…  # one request with the credentials of the environment
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"

	"github.com/agwgo/agw"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

// run is main with its surroundings as arguments.
func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(out)
	flowName := flags.String("flow", "customer", "which kind of agent: customer or lob")
	asJSON := flags.Bool("json", false, "end with one line of JSON")
	realPath := flags.String("real", "", "send one GET for this `path` with the credentials of the environment")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *realPath != "" {
		return callReal(ctx, *realPath, out)
	}
	s, err := newScene(*flowName)
	if err != nil {
		return err
	}
	defer s.close()
	r := s.play(ctx)
	r.print(out)
	if *asJSON {
		if err := json.NewEncoder(out).Encode(r.summary); err != nil {
			return err
		}
	}
	return r.verdict()
}

// callReal sends one request with whatever credentials the environment has.
func callReal(ctx context.Context, path string, out io.Writer) error {
	gw, err := agw.New(agw.Config{})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, gw.URL(path), nil)
	if err != nil {
		return err
	}
	resp, err := gw.Client().Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	fmt.Fprintf(out, "flow %s, %s\n", gw.Flow(), resp.Status)
	_, err = io.Copy(out, io.LimitReader(resp.Body, 64<<10))
	fmt.Fprintln(out)
	return err
}
