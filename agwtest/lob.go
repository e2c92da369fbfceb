package agwtest

import (
	"path/filepath"
	"strings"
)

// AuthURL is the base URL of the authorization server, as the binding has it:
// its host begins with the identity zone. The tenants' hosts are the same with
// their own label; [Server.Transport] reaches all of them.
func (s *Server) AuthURL() string {
	return "https://" + s.options.IdentityZone + "." + tenantDomain + s.authPort
}

// DestinationURL is the base URL of the Destination Service.
func (s *Server) DestinationURL() string { return s.destinationURL }

func (s *Server) bindingClientID() string { return "sb-" + s.options.ClientID }

// DestinationBinding is the binding of the Destination Service: client id,
// secret of now, both base URLs and identity zone by their keys. The map is the
// caller's own.
func (s *Server) DestinationBinding() map[string]string {
	return map[string]string{
		"clientid":     s.bindingClientID(),
		"clientsecret": s.secrets.now(),
		"url":          s.AuthURL(),
		"uri":          s.DestinationURL(),
		"identityzone": s.options.IdentityZone,
	}
}

// WriteDestinationBinding mounts the binding of now, one file for each key,
// below root/destination/default. Calling it again swaps it as kubelet does.
func (s *Server) WriteDestinationBinding(root string) error {
	files := map[string][]byte{}
	for key, value := range s.DestinationBinding() {
		files[key] = []byte(value)
	}
	s.mountMu.Lock()
	defer s.mountMu.Unlock()
	return WriteMount(filepath.Join(root, "destination", "default"), files)
}

// LoBEnv is the environment of the LoB flow: the landscape and the binding.
func (s *Server) LoBEnv() map[string]string {
	env := map[string]string{"APPFND_CONHOS_LANDSCAPE": s.options.Landscape}
	for key, value := range s.DestinationBinding() {
		env["CLOUD_SDK_CFG_DESTINATION_DEFAULT_"+strings.ToUpper(key)] = value
	}
	return env
}

// RotateClientSecret makes a new secret, which later bindings carry. The old
// one is accepted until [Server.RefuseOldClients].
func (s *Server) RotateClientSecret() { s.secrets.rotate() }
