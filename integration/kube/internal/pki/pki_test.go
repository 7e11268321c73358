package pki

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

var serviceIP = net.IPv4(10, 96, 0, 1)

func ensure(t *testing.T, dir string) Dir {
	t.Helper()
	d, err := Ensure(dir, serviceIP)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// serve answers every request with the name and group of the client certificate.
func serve(t *testing.T, d Dir) string {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(d.Cert("apiserver"), d.Key("apiserver"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	ca, _ := os.ReadFile(d.Cert("ca"))
	pool.AppendCertsFromPEM(ca)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		subject := r.TLS.PeerCertificates[0].Subject
		_, _ = io.WriteString(w, subject.CommonName+" "+subject.Organization[0])
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

func TestEveryKubeconfigReachesTheServer(t *testing.T) {
	d := ensure(t, filepath.Join(t.TempDir(), "pki"))
	url := serve(t, d)
	for _, user := range slices.Sorted(maps.Keys(Users)) {
		config, err := d.Kubeconfig(url, user)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := get(t, config), Users[user]+" system:masters"; got != want {
			t.Errorf("%s is seen as %q", user, got)
		}
	}
}

func get(t *testing.T, kubeconfig []byte) string {
	t.Helper()
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Get(config.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return string(body)
}

func TestSecondStartKeepsTheKeys(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	first, _ := ensure(t, dir).Kubeconfig("https://127.0.0.1:1", "admin")
	second, _ := ensure(t, dir).Kubeconfig("https://127.0.0.1:1", "admin")
	if string(first) != string(second) {
		t.Error("a restart changed the kubeconfig")
	}
}

func TestHalfASetIsNeverSeen(t *testing.T) {
	parent := t.TempDir()
	if _, err := Ensure(filepath.Join(parent, "missing", "pki"), serviceIP); err == nil {
		t.Error("made keys in a directory that does not exist")
	}
	ensure(t, filepath.Join(parent, "pki"))
	entries, _ := os.ReadDir(parent)
	if len(entries) != 1 {
		t.Errorf("left %v", entries)
	}
}

func TestServingCertificateNamesTheServiceToo(t *testing.T) {
	d := ensure(t, filepath.Join(t.TempDir(), "pki"))
	pair, err := tls.LoadX509KeyPair(d.Cert("apiserver"), d.Key("apiserver"))
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"127.0.0.1", "localhost", "10.96.0.1", "kubernetes.default.svc"} {
		if err := pair.Leaf.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
}
