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
	"time"
)

// Certificate says which client certificate [Server.ClientCertificate] makes.
// The zero value is the certificate of a registered client, valid for a day.
type Certificate struct {
	// NotBefore and NotAfter bound the validity; zero means an hour ago and a
	// day from now.
	NotBefore, NotAfter time.Time
	// ForeignCA has an authority sign it that the token service does not know.
	ForeignCA bool
}

// authority is a certificate authority in memory.
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
	a := &authority{cert: template}
	pair, err := a.issue(template)
	if err != nil {
		return nil, err
	}
	return &authority{cert: pair.Leaf, key: pair.PrivateKey.(*ecdsa.PrivateKey)}, nil
}

// issue makes a key and has a sign the certificate that template describes. An
// authority without a key signs its own certificate.
func (a *authority) issue(template *x509.Certificate) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("agwtest: key for %q: %w", template.Subject.CommonName, err)
	}
	signer := a.key
	if signer == nil {
		signer = key
	}
	template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("agwtest: serial number: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), signer)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("agwtest: certificate for %q: %w", template.Subject.CommonName, err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("agwtest: certificate for %q: %w", template.Subject.CommonName, err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

// pki is what the TLS handshakes of the double are made of. It does not change.
type pki struct {
	authority *authority
	pool      *x509.CertPool // the authority
	server    tls.Certificate
}

func newPKI() (*pki, error) {
	a, err := newAuthority("agwtest CA")
	if err != nil {
		return nil, err
	}
	server, err := a.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: domain},
		NotBefore:   time.Now().Add(-time.Hour),
		NotAfter:    time.Now().Add(7 * 24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost", domain, "*." + domain, "*." + tenantDomain},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	})
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return &pki{authority: a, pool: pool, server: server}, nil
}

// keyPair is a client certificate and its key as PEM.
type keyPair struct {
	serial          string
	certPEM, keyPEM []byte
}

func (p *pki) issueClient(c Certificate) (keyPair, error) {
	signer := p.authority
	if c.ForeignCA {
		foreign, err := newAuthority("agwtest foreign CA")
		if err != nil {
			return keyPair{}, err
		}
		signer = foreign
	}
	cert, err := signer.issue(&x509.Certificate{
		Subject:     pkix.Name{CommonName: clientID},
		NotBefore:   orDefault(c.NotBefore, time.Now().Add(-time.Hour)),
		NotAfter:    orDefault(c.NotAfter, time.Now().Add(24*time.Hour)),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return keyPair{}, err
	}
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
