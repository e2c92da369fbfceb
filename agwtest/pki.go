package agwtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"slices"
	"sync"
	"time"
)

const (
	domain       = "agwtest.invalid"
	tenantDomain = "authentication." + domain
)

// Certificate says which client certificate [Server.ClientCertificate] makes.
// The zero value is the certificate of a registered client, valid for a day.
type Certificate struct {
	// CommonName is the subject; "" means [Server.ClientID]. The token service
	// refuses other subjects with invalid_client.
	CommonName string
	// NotBefore and NotAfter bound the validity; zero means an hour ago and a
	// day from now.
	NotBefore, NotAfter time.Time
	// ForeignCA has an authority sign it that the token service does not know.
	ForeignCA bool
}

// authority is a certificate authority that lives in memory.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(name string) (*authority, error) {
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-24 * time.Hour),
		NotAfter:              time.Now().Add(30 * 24 * time.Hour),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("agwtest: CA key: %w", err)
	}
	der, err := signCertificate(template, template, key, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("agwtest: CA certificate: %w", err)
	}
	return &authority{cert: cert, key: key}, nil
}

func signCertificate(template, parent *x509.Certificate, key, signer *ecdsa.PrivateKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("agwtest: serial number: %w", err)
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		return nil, fmt.Errorf("agwtest: certificate for %q: %w", template.Subject.CommonName, err)
	}
	return der, nil
}

// issue makes a key pair and has a sign the certificate that template describes.
func (a *authority) issue(template *x509.Certificate) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("agwtest: key for %q: %w", template.Subject.CommonName, err)
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := signCertificate(template, a.cert, key, a.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("agwtest: certificate for %q: %w", template.Subject.CommonName, err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

func (a *authority) issueServer() (tls.Certificate, error) {
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: domain},
		NotBefore:   time.Now().Add(-time.Hour),
		NotAfter:    time.Now().Add(7 * 24 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost", domain, "*." + domain, "*." + tenantDomain},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	})
}

func (a *authority) issueClient(c Certificate) (tls.Certificate, error) {
	return a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: c.CommonName},
		NotBefore:   c.NotBefore,
		NotAfter:    c.NotAfter,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
}

// pki holds what the TLS handshakes of the double are made of.
type pki struct {
	mu          sync.RWMutex
	authorities []*authority // every one so far, the newest last
	server      tls.Certificate
	clientPool  *x509.CertPool  // all authorities: old client certificates outlive a CA
	client      keyPair         // handed out with the credentials
	accepted    map[string]bool // serial numbers of client certificates
}

// keyPair is a client certificate and its key as PEM.
type keyPair struct {
	serial          string
	certPEM, keyPEM []byte
}

func newPKI(clientID string) (*pki, error) {
	p := &pki{accepted: map[string]bool{}}
	if err := p.rotateCA(); err != nil {
		return nil, err
	}
	return p, p.rotateClient(clientID)
}

// rotateCA adds an authority and has it sign a new server certificate.
func (p *pki) rotateCA() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	a, err := newAuthority(fmt.Sprintf("agwtest CA %d", len(p.authorities)+1))
	if err != nil {
		return err
	}
	server, err := a.issueServer()
	if err != nil {
		return err
	}
	authorities := append(slices.Clone(p.authorities), a)
	pool := x509.NewCertPool()
	for _, a := range authorities {
		pool.AddCert(a.cert)
	}
	p.authorities, p.server, p.clientPool = authorities, server, pool
	return nil
}

func (p *pki) rotateClient(clientID string) error {
	pair, err := p.issueClient(Certificate{CommonName: clientID})
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.client = pair
	return nil
}

// issueClient makes a client certificate that is accepted, unless its authority
// is not ours.
func (p *pki) issueClient(c Certificate) (keyPair, error) {
	if c.NotBefore.IsZero() {
		c.NotBefore = time.Now().Add(-time.Hour)
	}
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(24 * time.Hour)
	}
	signer := p.current()
	if c.ForeignCA {
		foreign, err := newAuthority("agwtest foreign CA")
		if err != nil {
			return keyPair{}, err
		}
		signer = foreign
	}
	cert, err := signer.issueClient(c)
	if err != nil {
		return keyPair{}, err
	}
	pair, err := encodePair(cert)
	if err != nil {
		return keyPair{}, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.accepted[pair.serial] = true
	return pair, nil
}

func (p *pki) current() *authority {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.authorities[len(p.authorities)-1]
}

func (p *pki) currentClient() keyPair {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.client
}

func (p *pki) refuseOldClients() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.accepted = map[string]bool{p.client.serial: true}
}

// registered reports whether cert belongs to the client and is not refused.
// The handshake has verified its chain and validity before.
func (p *pki) registered(cert *x509.Certificate, clientID string) bool {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return cert.Subject.CommonName == clientID && p.accepted[cert.SerialNumber.String()]
}

// serverConfig is the TLS configuration for the next handshake; done runs when
// that succeeds.
func (p *pki) serverConfig(clientAuth tls.ClientAuthType, protocols []string, done func(tls.ConnectionState) error) *tls.Config {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return &tls.Config{
		MinVersion:       tls.VersionTLS12,
		Certificates:     []tls.Certificate{p.server},
		NextProtos:       protocols,
		ClientAuth:       clientAuth,
		ClientCAs:        p.clientPool,
		VerifyConnection: done,
	}
}

func encodePair(cert tls.Certificate) (keyPair, error) {
	der, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		return keyPair{}, fmt.Errorf("agwtest: private key: %w", err)
	}
	return keyPair{
		serial:  cert.Leaf.SerialNumber.String(),
		certPEM: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}),
		keyPEM:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}),
	}, nil
}
