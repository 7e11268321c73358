package main

import (
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// proxy stands before the API server and counts what is asked of it. It answers on
// loopback to whoever knows its port, with the rights of the world's kubeconfig.
type proxy struct {
	kubeconfig string // that leads to it
	server     *http.Server

	mu     sync.Mutex
	counts map[request]int
	last   time.Time // of a request about objects
}

// request is what the proxy tells requests apart by.
type request struct {
	verb     string // get, list, watch, create, update, patch, delete; of what is no object: the method
	resource string // with its group and subresource; of what is no object: the path's beginning
	kind     requestKind
}

// requestKind says what a request is about.
type requestKind string

const (
	ofObjects requestKind = "objects"
	ofWatches requestKind = "watches"
	// ofSelf are requests about who one is, what one may do and what there is: reviews,
	// leases, discovery.
	ofSelf requestKind = "discovery, reviews and leases"
)

func (b *bench) startProxy(label string) (*proxy, error) {
	config, err := clientcmd.BuildConfigFromFlags("", b.kubeconfig)
	if err != nil {
		return nil, err
	}
	transport, err := rest.TransportFor(config)
	if err != nil {
		return nil, err
	}
	target, err := url.Parse(config.Host)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	forward := httputil.NewSingleHostReverseProxy(target)
	forward.Transport, forward.FlushInterval = transport, -1 // watches are answered bit by bit
	// Clients end their watches and what was superseded; they themselves tell of the rest.
	forward.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }
	p := &proxy{counts: map[request]int{}}
	p.server = &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.count(requestOf(r.Method, r.URL))
		forward.ServeHTTP(w, r)
	})}
	go func() { _ = p.server.Serve(listener) }() // ends with stop
	p.kubeconfig = filepath.Join(b.dir, "kubeconfig-"+label)
	return p, os.WriteFile(p.kubeconfig, plainKubeconfig("http://"+listener.Addr().String()), 0o600)
}

func plainKubeconfig(server string) []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters: [{name: counted, cluster: {server: %q}}]
users: [{name: nobody, user: {}}]
contexts: [{name: counted, context: {cluster: counted, user: nobody}}]
current-context: counted
`, server)
}

func (p *proxy) stop() { _ = p.server.Close() }

func (p *proxy) count(r request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts[r]++
	if r.kind == ofObjects {
		p.last = time.Now()
	}
}

// calm says for how long nothing was asked about objects.
func (p *proxy) calm() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.last)
}

// requests are all counts up to now.
func (p *proxy) requests() requests {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.counts)
}

// requests are how often what was asked.
type requests map[request]int

// since is what was added to an earlier count.
func (r requests) since(before requests) requests {
	added := requests{}
	for what, count := range r {
		if n := count - before[what]; n > 0 {
			added[what] = n
		}
	}
	return added
}

func (r requests) of(fits func(request) bool) int {
	sum := 0
	for what, count := range r {
		if fits(what) {
			sum += count
		}
	}
	return sum
}

func (r requests) kind(kind requestKind) int {
	return r.of(func(what request) bool { return what.kind == kind })
}

// writes are all requests that change something: of what is no object, leases alone do.
func (r requests) writes() int {
	return r.of(func(what request) bool {
		reads := what.verb == "get" || what.verb == "list" || what.verb == "watch"
		return !reads && (what.kind == ofObjects || strings.HasPrefix(what.resource, "leases."))
	})
}

func (r requests) String() string {
	var lines []string
	for what, count := range r {
		lines = append(lines, fmt.Sprintf("%d x %s %s (%s)", count, what.verb, what.resource, what.kind))
	}
	if len(lines) == 0 {
		return "none at all"
	}
	slices.Sort(lines)
	return strings.Join(lines, ", ")
}

// requestOf reads a request as the API server does (Kubernetes API concepts, "Resource
// URIs"): /api/<version>/... or /apis/<group>/<version>/..., a namespace, a resource, a
// name, a subresource.
func requestOf(method string, u *url.URL) request {
	group, parts, ok := resourcePath(strings.Split(strings.Trim(u.Path, "/"), "/"))
	if !ok {
		return request{verb: strings.ToLower(method), resource: u.Path, kind: ofSelf}
	}
	r := request{resource: parts[0], kind: ofObjects}
	if group != "" {
		r.resource += "." + group
	}
	if len(parts) > 2 {
		r.resource += "/" + parts[2]
	}
	named := len(parts) > 1
	switch {
	case u.Query().Get("watch") == "true" || u.Query().Get("watch") == "1":
		r.verb, r.kind = "watch", ofWatches
		return r
	case method == http.MethodGet && named:
		r.verb = "get"
	case method == http.MethodGet:
		r.verb = "list"
	default:
		r.verb = map[string]string{
			http.MethodPost: "create", http.MethodPut: "update", http.MethodPatch: "patch", http.MethodDelete: "delete",
		}[method]
	}
	if group == "authorization.k8s.io" || group == "authentication.k8s.io" || group == "coordination.k8s.io" {
		r.kind = ofSelf
	}
	return r
}

// resourcePath is what follows group, version and namespace; false when there is nothing.
func resourcePath(parts []string) (group string, rest []string, ok bool) {
	switch {
	case len(parts) > 2 && parts[0] == "api":
		rest = parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		group, rest = parts[1], parts[3:]
	default:
		return "", nil, false
	}
	if rest[0] == "namespaces" && len(rest) > 2 && rest[2] != "status" && rest[2] != "finalize" {
		rest = rest[2:]
	}
	return group, rest, true
}
