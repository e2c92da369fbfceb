package agwtest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// BindingName is the name of the directory that [Server.WriteBinding] makes.
const BindingName = "agent-gateway"

// Credentials are those of the customer flow, as the JSON object of the file
// credentials. The map is the caller's own, to be altered at will and written
// with [WriteMount].
func (s *Server) Credentials() map[string]any {
	client := s.pki.currentClient()
	return map[string]any{
		"tokenServiceUrl":         s.TokenURL(),
		"clientid":                s.ClientID(),
		"certificate":             string(client.certPEM),
		"privateKey":              string(client.keyPEM),
		"gatewayUrl":              s.GatewayURL(),
		"integrationDependencies": slices.Clone(s.options.Dependencies),
	}
}

// ClientCertificate makes a client certificate and its key, both as PEM.
func (s *Server) ClientCertificate(c Certificate) (certPEM, keyPEM []byte, err error) {
	c.CommonName = orDefault(c.CommonName, s.options.ClientID)
	pair, err := s.pki.issueClient(c)
	return pair.certPEM, pair.keyPEM, err
}

// WriteBinding mounts the credentials of now below root, which then is a
// SERVICE_BINDING_ROOT. Calling it again swaps them as kubelet does.
func (s *Server) WriteBinding(root string) error {
	body, err := json.MarshalIndent(s.Credentials(), "", "  ")
	if err != nil {
		return fmt.Errorf("agwtest: credentials: %w", err)
	}
	s.mountMu.Lock()
	defer s.mountMu.Unlock()
	return WriteMount(filepath.Join(root, BindingName), map[string][]byte{
		"type":        []byte("integration-credentials"),
		"credentials": body,
	})
}

// CustomerEnv is the environment of the customer flow without mutual TLS.
func (s *Server) CustomerEnv() map[string]string {
	dependencies, _ := json.Marshal(s.options.Dependencies)
	return map[string]string{
		"INTEGRATION_CLIENT_ID":    s.ClientID(),
		"INTEGRATION_AUTH_URL":     s.TokenURLNoClientCert(),
		"INTEGRATION_GATEWAY_URL":  s.GatewayURL(),
		"INTEGRATION_DEPENDENCIES": string(dependencies),
	}
}

// RotateClientCertificate makes a new key and certificate of the client, which
// later credentials carry. The old one is accepted until RefuseOldClients.
func (s *Server) RotateClientCertificate() error { return s.pki.rotateClient(s.options.ClientID) }

// RefuseOldClients has the token services answer invalid_client to every client
// certificate and client secret but those of now.
func (s *Server) RefuseOldClients() {
	s.pki.refuseOldClients()
	s.secrets.refuseOld()
}

// RotateCA makes a new authority and has it sign the server certificates of the
// next handshakes and the client certificates to come. Client certificates of
// the old one are still accepted.
func (s *Server) RotateCA() error { return s.pki.rotateCA() }

// ResetCounts begins a new observation: counts, meters and recorded requests.
func (s *Server) ResetCounts() {
	s.log.reset()
	for _, service := range s.services() {
		service.meter.reset()
	}
}

func (s *Server) services() []*Service {
	return []*Service{s.Tokens.Service, s.Auth.Service, s.Fragments, s.Destinations.Service, s.Gateway, s.Foreign}
}

// WriteMount writes files into a directory the way kubelet mounts a secret: each
// name is a symbolic link through ..data to a directory of this moment. When the
// directory is one already, ..data is swapped for the new files in one step, and
// the old ones are gone. One writer at a time, any number of readers.
func WriteMount(directory string, files map[string][]byte) error {
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return fmt.Errorf("agwtest: mount: %w", err)
	}
	old, _ := os.Readlink(filepath.Join(directory, "..data"))
	data, err := os.MkdirTemp(directory, time.Now().UTC().Format("..2006_01_02_15_04_05.*"))
	if err != nil {
		return fmt.Errorf("agwtest: mount: %w", err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(data, name), content, 0o600); err != nil {
			return fmt.Errorf("agwtest: mount: %w", err)
		}
	}
	if err := swapLink(filepath.Join(directory, "..data"), filepath.Base(data)); err != nil {
		return err
	}
	return tidyMount(directory, old, files)
}

// swapLink points a symbolic link elsewhere in one step.
func swapLink(link, target string) error {
	next := link + "_tmp"
	_ = os.Remove(next)
	if err := os.Symlink(target, next); err != nil {
		return fmt.Errorf("agwtest: mount: %w", err)
	}
	if err := os.Rename(next, link); err != nil {
		return fmt.Errorf("agwtest: mount: %w", err)
	}
	return nil
}

// tidyMount makes the links that users see agree with files and removes the
// directory that was served before. What is not of a mount stays.
func tidyMount(directory, old string, files map[string][]byte) error {
	for name := range files {
		err := os.Symlink(filepath.Join("..data", name), filepath.Join(directory, name))
		if err != nil && !os.IsExist(err) {
			return fmt.Errorf("agwtest: mount: %w", err)
		}
	}
	entries, err := os.ReadDir(directory)
	if err != nil {
		return fmt.Errorf("agwtest: mount: %w", err)
	}
	for _, entry := range entries {
		path := filepath.Join(directory, entry.Name())
		target, _ := os.Readlink(path)
		_, served := files[entry.Name()]
		stale := filepath.Dir(target) == "..data" && !served || entry.Name() == old
		if !stale {
			continue
		}
		if err := os.RemoveAll(path); err != nil {
			return fmt.Errorf("agwtest: mount: %w", err)
		}
	}
	return nil
}
