// Package pki makes the keys and certificates of one control plane, once, and reads them back on every later
// start. It writes only its own directory, and that in one step: a kill half-way leaves nothing that a restart
// would mistake for a complete set.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// lifetime is long enough that no demo directory ever dies of age.
const lifetime = 10 * 365 * 24 * time.Hour

// Users are the clients that get a certificate, by file name. All are of system:masters: the parts of a fake
// cluster need no least privilege among themselves, and need not wait for the bootstrap roles. The names tell
// them apart in the audit log.
var Users = map[string]string{
	"admin":              "plumb-kube-admin",
	"controller-manager": "system:kube-controller-manager",
	"scheduler":          "system:kube-scheduler",
	"kwok":               "system:kwok",
}

// Dir is a directory that holds a complete set.
type Dir string

// Ensure returns the set in dir, making it if there is none. serviceIP is the address of the service
// `kubernetes`, which the serving certificate must name too.
func Ensure(dir string, serviceIP net.IP) (Dir, error) {
	_, err := os.Stat(dir)
	if err == nil {
		return Dir(dir), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read keys: %w", err)
	}
	if err := create(dir, serviceIP); err != nil {
		return "", fmt.Errorf("create keys: %w", err)
	}
	return Dir(dir), nil
}

// Cert and Key are the PEM files of a holder: ca, apiserver, or one of Users.
func (d Dir) Cert(name string) string { return filepath.Join(string(d), name+".crt") }
func (d Dir) Key(name string) string  { return filepath.Join(string(d), name+".key") }

// ServiceAccountKey signs and verifies the tokens of service accounts.
func (d Dir) ServiceAccountKey() string { return filepath.Join(string(d), "service-account.key") }

func create(dir string, serviceIP net.IP) error {
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".pki-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := fill(Dir(tmp), serviceIP); err != nil {
		return err
	}
	return os.Rename(tmp, dir)
}

func fill(d Dir, serviceIP net.IP) error {
	ca, err := newAuthority(d)
	if err != nil {
		return err
	}
	if err := ca.issue("apiserver", serverTemplate(serviceIP)); err != nil {
		return err
	}
	for name, user := range Users {
		if err := ca.issue(name, clientTemplate(user)); err != nil {
			return err
		}
	}
	_, err = newKey(d.ServiceAccountKey())
	return err
}

func serverTemplate(serviceIP net.IP) *x509.Certificate {
	return &x509.Certificate{
		Subject:     pkix.Name{CommonName: "kube-apiserver"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback, serviceIP},
		DNSNames:    []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
	}
}

func clientTemplate(user string) *x509.Certificate {
	return &x509.Certificate{
		Subject:     pkix.Name{CommonName: user, Organization: []string{"system:masters"}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
}

// authority signs into a directory.
type authority struct {
	dir  Dir
	cert *x509.Certificate
	key  crypto.Signer
}

func newAuthority(d Dir) (*authority, error) {
	key, err := newKey(d.Key("ca"))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "plumb-kube-ca"},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	ca := &authority{dir: d, cert: template, key: key}
	ca.cert, err = ca.sign("ca", template, key.Public())
	return ca, err
}

func (a *authority) issue(name string, template *x509.Certificate) error {
	key, err := newKey(a.dir.Key(name))
	if err != nil {
		return err
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	_, err = a.sign(name, template, key.Public())
	return err
}

func (a *authority) sign(name string, template *x509.Certificate, public crypto.PublicKey) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	// An hour back: virtual machines wake up with clocks that jump.
	template.NotBefore = time.Now().Add(-time.Hour)
	template.NotAfter = time.Now().Add(lifetime)
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign %s: %w", name, err)
	}
	if err := writePEM(a.dir.Cert(name), "CERTIFICATE", der); err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

func newKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, writePEM(path, "EC PRIVATE KEY", der)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
