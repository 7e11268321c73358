package plane

import (
	"net/http"
	"strings"

	"k8s.io/apiserver/pkg/server"
)

// Clients name themselves after os.Args[0] in the User-Agent, and the API server takes that name as field manager.
// All parts share one process here, so without help every one of them would be "plumb-kube", and a test that asks
// who changed a field, or who sent how many requests, could not tell them apart. Main therefore calls itself by
// sharedName, which is right for the API server's own clients, and the API server corrects the others: it knows
// them by their certificates.
const sharedName = "kube-apiserver"

type chainBuilder = func(http.Handler, *server.Config) http.Handler

// namingParts puts the correction before all else that looks at a request.
func namingParts(build chainBuilder) chainBuilder {
	return func(api http.Handler, c *server.Config) http.Handler {
		next := build(api, c)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if name, ok := partName(r); ok {
				r.Header.Set("User-Agent", name)
			}
			next.ServeHTTP(w, r)
		})
	}
}

// partName is the User-Agent that a part would send from a process of its own.
func partName(r *http.Request) (string, bool) {
	rest, shared := strings.CutPrefix(r.UserAgent(), sharedName+"/")
	if !shared || r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return "", false
	}
	user := r.TLS.PeerCertificates[0].Subject.CommonName
	part, ok := strings.CutPrefix(user, "system:")
	return part + "/" + rest, ok
}
