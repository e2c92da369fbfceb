package agwtest

import (
	"crypto/rand"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// clientCredentials are what the agent proves its identity with: a certificate
// to the token service, a secret to the authorization server.
type clientCredentials struct {
	mu       sync.RWMutex
	pair     keyPair
	secret   string
	accepted map[string]bool // serial numbers of certificates, and secrets
}

func newClientCredentials(p *pki) (*clientCredentials, error) {
	c := &clientCredentials{accepted: map[string]bool{}}
	return c, c.rotate(p)
}

func (c *clientCredentials) rotate(p *pki) error {
	pair, err := p.issueClient(Certificate{})
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pair, c.secret = pair, rand.Text()
	c.accepted[pair.serial], c.accepted[c.secret] = true, true
	return nil
}

// now returns the current certificate and secret.
func (c *clientCredentials) now() (keyPair, string) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.pair, c.secret
}

// accepts reports whether a certificate with this serial number, or this
// secret, is registered and has not been refused since.
func (c *clientCredentials) accepts(serialOrSecret string) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.accepted[serialOrSecret]
}

// RotateCredentials makes a new client certificate with its key and a new client
// secret, which later credentials, bindings and environments have. The old ones
// are accepted until [Server.RefuseOldCredentials].
func (s *Server) RotateCredentials() error { return s.credentials.rotate(s.pki) }

// RefuseOldCredentials has the token services respond with invalid_client to
// every client certificate and client secret but the current ones.
func (s *Server) RefuseOldCredentials() {
	c := s.credentials
	c.mu.Lock()
	defer c.mu.Unlock()
	c.accepted = map[string]bool{c.pair.serial: true, c.secret: true}
}

// ClientCertificate makes a client certificate and its key, both as PEM. The
// token service accepts it, if it is valid, until [Server.RefuseOldCredentials].
func (s *Server) ClientCertificate(c Certificate) (certPEM, keyPEM []byte, err error) {
	pair, err := s.pki.issueClient(c)
	if err != nil {
		return nil, nil, err
	}
	s.credentials.mu.Lock()
	defer s.credentials.mu.Unlock()
	s.credentials.accepted[pair.serial] = true
	return pair.certPEM, pair.keyPEM, nil
}

// ClientID is the OAuth client id of the agent at the token service and the
// gateway. That in the binding of the Destination Service is another one.
func (s *Server) ClientID() string { return clientID }

// Credentials are the current ones of the customer flow, as the JSON object of
// the file credentials. The map is the caller's own and may be modified and
// written with [WriteMount].
func (s *Server) Credentials() map[string]any {
	pair, _ := s.credentials.now()
	return map[string]any{
		"tokenServiceUrl":         s.TokenURL(),
		"clientid":                clientID,
		"certificate":             string(pair.certPEM),
		"privateKey":              string(pair.keyPEM),
		"gatewayUrl":              s.GatewayURL(),
		"integrationDependencies": slices.Clone(s.options.Dependencies),
	}
}

// WriteBinding mounts the current [Server.Credentials] in root/agent-gateway, so
// that root is a SERVICE_BINDING_ROOT. Further calls replace them as kubelet
// does.
func (s *Server) WriteBinding(root string) error {
	body, _ := json.MarshalIndent(s.Credentials(), "", "  ") // strings never fail
	s.mountMu.Lock()
	defer s.mountMu.Unlock()
	return WriteMount(filepath.Join(root, "agent-gateway"), map[string][]byte{
		"type":        []byte("integration-credentials"),
		"credentials": body,
	})
}

// CustomerEnv is the environment of the customer flow without mutual TLS: its
// INTEGRATION_AUTH_URL is a token endpoint that asks for no client certificate.
// The map is the caller's own.
func (s *Server) CustomerEnv() map[string]string {
	dependencies, _ := json.Marshal(s.options.Dependencies)
	return map[string]string{
		"INTEGRATION_CLIENT_ID":    clientID,
		"INTEGRATION_AUTH_URL":     s.openTokenOrigin + tokenPath,
		"INTEGRATION_GATEWAY_URL":  s.GatewayURL(),
		"INTEGRATION_DEPENDENCIES": string(dependencies),
	}
}

// bindingClientID is the OAuth client id in the binding of the Destination Service.
const bindingClientID = "sb-" + clientID

// DestinationBinding is the current binding of the Destination Service: clientid,
// clientsecret, url (of the authorization server), uri (of the Destination
// Service) and identityzone. The host of url begins with the identity zone. That
// of a tenant begins with the tenant instead, and [Server.Transport] reaches it.
// The map is the caller's own.
func (s *Server) DestinationBinding() map[string]string {
	_, secret := s.credentials.now()
	return map[string]string{
		"clientid":     bindingClientID,
		"clientsecret": secret,
		"url":          "https://" + provider + "." + tenantDomain + s.authOrigin[strings.LastIndexByte(s.authOrigin, ':'):],
		"uri":          s.destinationOrigin,
		"identityzone": provider,
	}
}

// WriteDestinationBinding mounts the current [Server.DestinationBinding] in
// root/destination/default, one file for each key. Further calls replace it as
// kubelet does.
func (s *Server) WriteDestinationBinding(root string) error {
	files := map[string][]byte{}
	for key, value := range s.DestinationBinding() {
		files[key] = []byte(value)
	}
	s.mountMu.Lock()
	defer s.mountMu.Unlock()
	return WriteMount(filepath.Join(root, "destination", "default"), files)
}

// LoBEnv is the environment of the LoB flow: APPFND_CONHOS_LANDSCAPE and the
// current [Server.DestinationBinding]. The map is the caller's own.
func (s *Server) LoBEnv() map[string]string {
	env := map[string]string{"APPFND_CONHOS_LANDSCAPE": landscape}
	for key, value := range s.DestinationBinding() {
		env["CLOUD_SDK_CFG_DESTINATION_DEFAULT_"+strings.ToUpper(key)] = value
	}
	return env
}
