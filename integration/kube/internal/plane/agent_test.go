package plane

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/http"
	"testing"
)

func TestPartName(t *testing.T) {
	cases := map[string]struct{ user, agent, want string }{
		"a part that shares our process is named by its certificate": {
			"system:kube-scheduler", "kube-apiserver/v1 (linux) k/scheduler", "kube-scheduler/v1 (linux) k/scheduler"},
		"a part that names itself is left alone":         {"system:kwok", "kwok", ""},
		"somebody else's client is left alone":           {"plumb-kube-admin", "kube-apiserver/v1", ""},
		"the API server's own client has no certificate": {"", "kube-apiserver/v1", ""},
	}
	for name, c := range cases {
		r := &http.Request{Header: http.Header{"User-Agent": {c.agent}}}
		if c.user != "" {
			cert := &x509.Certificate{Subject: pkix.Name{CommonName: c.user}}
			r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}
		}
		if got, ok := partName(r); ok != (c.want != "") || ok && got != c.want {
			t.Errorf("%s: got %q, %v", name, got, ok)
		}
	}
}
