// Package cluster speaks with the Kubernetes API of the worker's own cluster:
// one client per identity, server-side apply, guarded deletes, watches that
// resume, and local checks against the published OpenAPI.
//
// It may import client-go, object and fault. Every error is classified: what
// the API server will refuse again is permanent, pushback says how long to
// wait, everything else is transient. No error carries the data of a Secret.
package cluster

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Options are the tunables of a Cluster.
type Options struct {
	// Kubeconfig is a path. Empty: in-cluster, then KUBECONFIG, then ~/.kube/config.
	Kubeconfig string
	// UserAgent is seen in the audit log; empty means plumb.
	UserAgent string
	// Log gets what has no caller to return to; nil means slog.Default().
	Log *slog.Logger
	// Timeout ends one request that is not a watch; 0 means 30 s.
	Timeout time.Duration
	// MaxInFlight is the most requests at a time, which pushback (429) lowers; 0 means 128.
	MaxInFlight int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

func (o Options) withDefaults() Options {
	if o.UserAgent == "" {
		o.UserAgent = "plumb"
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	if o.MaxInFlight == 0 {
		o.MaxInFlight = 128
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// Identity is a ServiceAccount that requests are made as. The zero value is
// Plumb's own account.
type Identity struct{ Namespace, ServiceAccount string }

// String is the user name that the API server sees.
func (id Identity) String() string {
	if id == (Identity{}) {
		return "Plumb's own account"
	}
	return "system:serviceaccount:" + id.Namespace + ":" + id.ServiceAccount
}

// Cluster is one Kubernetes cluster. What it publishes to everybody (kinds,
// schemas, its version) is read once for all identities.
type Cluster struct {
	config  *rest.Config
	options Options
	kinds   *kinds
	schemas *schemas

	mu      sync.Mutex
	clients map[Identity]*Client
}

// Open reads the configuration; it sends no request.
func Open(o Options) (*Cluster, error) {
	o = o.withDefaults()
	config, err := loadConfig(o.Kubeconfig)
	if err != nil {
		return nil, err
	}
	// Client-side throttling would pace every burst; the limit below adapts to what the server bears.
	config.QPS = -1
	config.UserAgent = o.UserAgent
	// The worker sits beside its API server: compressing costs both more than the bytes.
	config.DisableCompression = true
	config.WarningHandlerWithContext = rest.NoWarnings{}
	config.ContentConfig = rest.ContentConfig{ContentType: runtime.ContentTypeJSON, NegotiatedSerializer: statusCodec()}
	config.Wrap(newLimit(o.MaxInFlight, o.Now).wrap)

	c := &Cluster{config: config, options: o, clients: map[Identity]*Client{}}
	own, err := c.newClient(Identity{})
	if err != nil {
		return nil, err
	}
	c.clients[Identity{}] = own
	c.kinds = newKinds(own.read)
	c.schemas = newSchemas(own.read, o.Now)
	return c, nil
}

// As returns the client of an identity, which asks the API server to treat its
// requests as that account's. Groups are not sent: for a ServiceAccount the
// API server adds them itself, and so Plumb needs no right to impersonate groups.
func (c *Cluster) As(id Identity) *Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	client, ok := c.clients[id]
	if !ok {
		var err error
		if client, err = c.newClient(id); err != nil {
			client = &Client{cluster: c, identity: id, broken: err}
		}
		c.clients[id] = client
	}
	return client
}

func (c *Cluster) newClient(id Identity) (*Client, error) {
	config := rest.CopyConfig(c.config)
	if id != (Identity{}) {
		config.Impersonate = rest.ImpersonationConfig{UserName: id.String()}
	}
	client, err := rest.UnversionedRESTClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("open cluster as %s: %w", id, err)
	}
	return &Client{cluster: c, identity: id, rest: client}, nil
}

func loadConfig(path string) (*rest.Config, error) {
	if path != "" {
		config, err := clientcmd.BuildConfigFromFlags("", path)
		if err != nil {
			return nil, fmt.Errorf("read kubeconfig %s: %w", path, err)
		}
		return config, nil
	}
	if config, err := rest.InClusterConfig(); err == nil {
		return config, nil
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if clientcmd.IsEmptyConfig(err) {
		return nil, fmt.Errorf("find a cluster: not inside one, and neither KUBECONFIG nor ~/.kube/config names one; set kubernetes.kubeconfig")
	}
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	return config, nil
}

// statusCodec decodes the error answers of the API server; objects are decoded by their readers.
func statusCodec() runtime.NegotiatedSerializer {
	scheme := runtime.NewScheme()
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	return serializer.NewCodecFactory(scheme).WithoutConversion()
}

// Host is the address of the API server, for people.
func (c *Cluster) Host() string { return c.config.Host }
