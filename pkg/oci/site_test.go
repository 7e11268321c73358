package oci_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"io/fs"
	"log"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory" // its only way to be chosen
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/sirupsen/logrus"

	"github.com/plumb-gitops/plumb/pkg/oci"
	"github.com/plumb-gitops/plumb/pkg/tree"
)

// certificate is one for 127.0.0.1 and localhost, which are two hosts to a client.
var certificate = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
})

// site is a server that remembers who asked for what.
type site struct {
	*httptest.Server
	mu    sync.Mutex
	seen  []string // method and path
	auths []string // Authorization headers, and bodies that hold a token
}

// serve answers over https, or over plain http.
func serve(t testing.TB, secure bool, h http.Handler) *site {
	t.Helper()
	s := &site{}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.note(r)
		h.ServeHTTP(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if secure {
		c, _ := certificate()
		s.TLS = &tls.Config{Certificates: []tls.Certificate{c}}
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

func (s *site) note(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, r.Method+" "+r.URL.Path)
	if a := r.Header.Get("Authorization"); a != "" {
		s.auths = append(s.auths, a)
	}
	if r.Method == http.MethodPost {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if len(body) > 0 {
			s.auths = append(s.auths, string(body))
		}
	}
}

// take returns what was asked since it was last called.
func (s *site) take() (seen, auths []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen, auths, s.seen, s.auths = s.seen, s.auths, nil, nil
	return seen, auths
}

func (s *site) host() string { return s.Listener.Addr().String() }

// local is the site by the name of another host.
func (s *site) local() string {
	return strings.Replace(s.URL, "127.0.0.1", "localhost", 1)
}

// registry is a real one, with something before it.
type registry struct {
	*site
	backend http.Handler
	push    string // host of a door that is always open

	mu   sync.Mutex
	door func(http.ResponseWriter, *http.Request) (through bool)
}

func newRegistry(t testing.TB) *registry {
	t.Helper()
	logrus.SetOutput(io.Discard) // the registry logs there whatever it is told
	c := &configuration.Configuration{Storage: configuration.Storage{"inmemory": nil}}
	c.Log.AccessLog.Disabled = true
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	r := &registry{backend: handlers.NewApp(ctx, c)}
	r.site = serve(t, true, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		r.mu.Lock()
		door := r.door
		r.mu.Unlock()
		if door == nil || door(w, q) {
			r.backend.ServeHTTP(w, q)
		}
	}))
	r.push = serve(t, false, r.backend).host()
	return r
}

// guard puts a door before the registry; it lets a request through or answers it.
func (r *registry) guard(door func(http.ResponseWriter, *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.door = door
}

func (r *registry) url(repo string) string { return "oci://" + r.host() + "/" + repo }

// layer is one of an artifact.
type layer struct {
	kind  string
	data  []byte
	title string
	dir   bool // a packed directory, as oras marks it
}

const (
	fluxType = "application/vnd.cncf.flux.content.v1.tar+gzip"
	tarType  = "application/vnd.oci.image.layer.v1.tar"
	helmType = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
)

func artifact(t testing.TB, config string, layers ...layer) v1.Image {
	t.Helper()
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.MediaType(config))
	for _, l := range layers {
		a := map[string]string{}
		if l.title != "" {
			a["org.opencontainers.image.title"] = l.title
		}
		if l.dir {
			a["io.deis.oras.content.unpack"] = "true"
		}
		var err error
		image, err = mutate.Append(image, mutate.Addendum{
			Layer: static.NewLayer(l.data, types.MediaType(l.kind)), MediaType: types.MediaType(l.kind), Annotations: a,
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return image
}

// publish pushes with the library's own client and returns the digest.
func (r *registry) publish(t testing.TB, repo string, image v1.Image, tags ...string) string {
	t.Helper()
	for _, tag := range tags {
		ref, err := name.NewTag(r.push+"/"+repo+":"+tag, name.Insecure)
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(ref, image, remote.WithContext(t.Context())); err != nil {
			t.Fatal(err)
		}
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

// flux is an artifact with these files, as flux push artifact makes it.
func flux(t testing.TB, files map[string]string) v1.Image {
	t.Helper()
	return artifact(t, "application/vnd.cncf.flux.config.v1+json", layer{kind: fluxType, data: zip(t, pack(t, files))})
}

func pack(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(files[name])), Typeflag: tar.TypeReg, Mode: 0o644}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zip(t testing.TB, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func client(o oci.Options) *oci.Client {
	if o.InsecureHosts == nil {
		o.InsecureHosts = []string{"127.0.0.1", "localhost"}
	}
	_, o.RootCAs = certificate()
	return oci.New(o)
}

func content(t testing.TB, tr tree.Tree) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(tr, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := tr.ReadFile(name)
		all[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func contextWithCause(t *testing.T, cause error) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(t.Context())
	return ctx, func() { cancel(cause) }
}
