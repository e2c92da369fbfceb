package customer

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/agwgo/agw/internal/jsonobject"
)

// certificate checks and returns the client certificate; nil if the credentials have
// none.
func (c *Credentials) certificate(now time.Time) (*tls.Certificate, error) {
	switch {
	case c.Certificate == "" && c.PrivateKey == "":
		return nil, nil
	case c.Certificate == "":
		return nil, c.errorIn("Certificate", jsonobject.ErrEmpty)
	case c.PrivateKey == "":
		return nil, c.errorIn("PrivateKey", jsonobject.ErrEmpty)
	}
	if err := checkCertificates(c.Certificate, now); err != nil {
		return nil, c.errorIn("Certificate", err)
	}
	if err := checkKey(c.PrivateKey); err != nil {
		return nil, c.errorIn("PrivateKey", err)
	}
	pair, err := tls.X509KeyPair([]byte(c.Certificate), []byte(c.PrivateKey))
	if err != nil {
		return nil, c.errorIn("PrivateKey", fmt.Errorf("%w; certificate and key must be of one pair", err))
	}
	return &pair, nil
}

// checkCertificates checks PEM certificates, and that the first is valid now.
func checkCertificates(text string, now time.Time) error {
	var leaf *x509.Certificate
	for _, block := range pemBlocks(text) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return errors.New("a PEM block is not a certificate")
		}
		if leaf == nil {
			leaf = cert
		}
	}
	switch {
	case leaf == nil:
		return noPEMBlock("CERTIFICATE", text)
	case now.After(leaf.NotAfter):
		return fmt.Errorf("the certificate expired at %s: replace it, unless the clock of this machine is wrong", leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("the certificate is not valid before %s: is the clock of this machine right?", leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// checkKey says of a PEM private key what is wrong, where crypto/tls only says that
// something is.
func checkKey(text string) error {
	for _, block := range pemBlocks(text) {
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY", strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
			return errors.New("the private key is encrypted; only unencrypted ones can be used")
		case block.Type == "PRIVATE KEY", block.Type == "RSA PRIVATE KEY", block.Type == "EC PRIVATE KEY":
			return nil
		}
	}
	return noPEMBlock("PRIVATE KEY", text)
}

// noPEMBlock returns the error of a text without a PEM block of the given type. It says
// what may have happened to it.
func noPEMBlock(blockType, text string) error {
	hint := ""
	switch {
	case len(pemBlocks(text)) > 0:
		hint = ", but one of another type"
	case strings.Contains(text, `\n`):
		hint = `: its line breaks are the two characters \n`
	}
	return errors.New("no PEM block " + blockType + " in it" + hint)
}

func pemBlocks(text string) (blocks []*pem.Block) {
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return blocks
		}
		blocks = append(blocks, block)
	}
}
