package customer

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// certificate returns the client certificate; nil if the credentials have none.
func (c *Credentials) certificate(now time.Time) (*tls.Certificate, error) {
	names := c.names()
	switch {
	case c.Certificate == "" && c.PrivateKey == "":
		return nil, nil
	case c.Certificate == "":
		return nil, c.errorIn(names.certificate, errEmpty)
	case c.PrivateKey == "":
		return nil, c.errorIn(names.privateKey, errEmpty)
	}
	leaf, err := parseCertificates(c.Certificate)
	if err == nil {
		err = checkValidity(leaf, now)
	}
	if err != nil {
		return nil, c.errorIn(names.certificate, err)
	}
	if err := checkKey(c.PrivateKey); err != nil {
		return nil, c.errorIn(names.privateKey, err)
	}
	pair, err := tls.X509KeyPair([]byte(c.Certificate), []byte(c.PrivateKey))
	if err != nil {
		return nil, c.errorIn(names.privateKey, err)
	}
	return &pair, nil
}

// parseCertificates checks PEM certificates and returns the first.
func parseCertificates(text string) (leaf *x509.Certificate, err error) {
	for _, block := range blocks(text) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("a PEM block is not a certificate")
		}
		if leaf == nil {
			leaf = cert
		}
	}
	if leaf == nil {
		return nil, noBlock("CERTIFICATE", text)
	}
	return leaf, nil
}

func checkValidity(cert *x509.Certificate, now time.Time) error {
	switch {
	case now.After(cert.NotAfter):
		return fmt.Errorf("the certificate expired at %s", cert.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(cert.NotBefore):
		return fmt.Errorf("the certificate is not valid before %s", cert.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// checkKey says what is wrong with a PEM private key, where crypto/tls would only
// say that something is.
func checkKey(text string) error {
	kinds := []string{"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"}
	for _, block := range blocks(text) {
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY", strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
			return errors.New("the private key is encrypted; only unencrypted ones can be used")
		case slices.Contains(kinds, block.Type):
			return nil
		}
	}
	return noBlock("PRIVATE KEY", text)
}

// noBlock returns the error of a text without a PEM block of that type, and what may
// have happened to it.
func noBlock(kind, text string) error {
	hint := ""
	switch {
	case len(blocks(text)) > 0:
		hint = ", but one of another type"
	case strings.Contains(text, `\n`):
		hint = `: its line breaks are the two characters \n`
	}
	return errors.New("no PEM block " + kind + " in it" + hint)
}

// blocks returns the PEM blocks in text.
func blocks(text string) (blocks []*pem.Block) {
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return blocks
		}
		blocks = append(blocks, block)
	}
}
