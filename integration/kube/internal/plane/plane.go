// Package plane runs a Kubernetes control plane inside this process: etcd, API server, controller manager,
// scheduler, and the kwok nodes. It owns their flags and their order.
//
// They run as goroutines and not as processes of their own. Nothing can outlive a SIGKILL that way, the start-up
// and the heap of five runtimes are saved, and what they share turned out to be harmless: feature gates and
// versions are one registry that upstream made for sharing, metrics have distinct names, klog writes one file.
// Two things did need care. The commands' cobra wrappers install signal handlers that panic when installed twice,
// so the Run functions below them are called. And all clients name themselves after os.Args[0], see agent.go.
//
// A part that ends is a Failure and the end of all: none is restarted. The working directory of the process must
// be the home directory, because etcd's sockets are relative to it.
package plane

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apiserver/pkg/util/compatibility"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/klog/v2"

	"github.com/plumb-gitops/plumb/integration/kube/internal/home"
	"github.com/plumb-gitops/plumb/integration/kube/internal/nodes"
	"github.com/plumb-gitops/plumb/integration/kube/internal/pki"
)

// The logs, by file name in the home directory. API server, controller manager and scheduler share klog.
const (
	EtcdLog = "etcd.log"
	KubeLog = "kube.log"
	KwokLog = "kwok.log"
)

// patience is how long a killed predecessor may still hold the port.
const patience = 3 * time.Second

// Failure says which part ended and where it logged.
type Failure struct {
	Part string
	Log  string
	Err  error
}

func (f *Failure) Error() string { return f.Part + ": " + f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

// Plane is a control plane that is starting or running.
type Plane struct {
	home     *home.Home
	keys     pki.Dir
	listener net.Listener // of the API server
	client   kubernetes.Interface
	audit    bool
	failed   chan *Failure
}

// Start brings the parts up in their order and returns when all run, which is before they are Ready. The context
// bounds the start alone: what runs, runs until the process ends.
func Start(ctx context.Context, h *home.Home, audit bool) (*Plane, error) {
	os.Args[0] = sharedName
	// With no feature gate or emulated version given, this only marks the registry as decided.
	if err := compatibility.DefaultComponentGlobalsRegistry.Set(); err != nil {
		return nil, fmt.Errorf("set feature gates: %w", err)
	}
	p, err := settle(h)
	if err != nil {
		return nil, err
	}
	p.audit = audit
	return p, p.launch(ctx)
}

// Failed gives the first part that ended.
func (p *Plane) Failed() <-chan *Failure { return p.failed }

// settle fixes what later starts will find again: address, keys, and the kubeconfigs made of both.
func settle(h *home.Home) (*Plane, error) {
	listener, err := h.Listen(patience)
	if err != nil {
		return nil, err
	}
	keys, err := pki.Ensure(h.Path("pki"), net.ParseIP(serviceIP))
	if err != nil {
		return nil, err
	}
	p := &Plane{home: h, keys: keys, listener: listener, failed: make(chan *Failure, 1)}
	for user := range pki.Users {
		if err := p.writeKubeconfig(user); err != nil {
			return nil, err
		}
	}
	p.client, err = p.adminClient()
	return p, err
}

func (p *Plane) writeKubeconfig(user string) error {
	text, err := p.keys.Kubeconfig("https://"+p.listener.Addr().String(), user)
	if err != nil {
		return err
	}
	return p.home.Write(kubeconfigName(user), text, 0o600)
}

// kubeconfigName gives the administrator the plain name, since it is the one that people use.
func kubeconfigName(user string) string {
	if user == "admin" {
		return "kubeconfig"
	}
	return user + ".kubeconfig"
}

func (p *Plane) adminClient() (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", p.home.Path(kubeconfigName("admin")))
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig: %w", err)
	}
	config.UserAgent = "plumb-kube"
	return kubernetes.NewForConfig(config)
}

// launch starts the parts. The API server alone would wait for etcd, and the others for it, but by polling every
// second; and the scheduler looks once, while it is configured, which version of events is served.
func (p *Plane) launch(ctx context.Context) error {
	etcd, err := startEtcd(ctx, p.home.Path("etcd"), p.home.Path(EtcdLog))
	if err != nil {
		return &Failure{Part: "etcd", Log: EtcdLog, Err: err}
	}
	p.run("etcd", EtcdLog, func(context.Context) error { return <-etcd.Err() })
	p.run("kube-apiserver", KubeLog, p.runAPIServer)
	if err := p.await(ctx, p.serving); err != nil {
		return err
	}
	p.run("kube-controller-manager", KubeLog, p.runControllers)
	p.run("kube-scheduler", KubeLog, p.runScheduler)
	p.run("kwok", KwokLog, p.runKwok)
	return nil
}

// run starts one part. Only the first failure is kept: the others follow from it. The part's name goes along in
// the context's logger, so that most lines of the shared log tell whose they are.
func (p *Plane) run(part, log string, body func(context.Context) error) {
	ctx := klog.NewContext(context.Background(), klog.LoggerWithName(klog.Background(), part))
	go func() {
		err := body(ctx)
		if err == nil {
			err = errors.New("ended by itself")
		}
		select {
		case p.failed <- &Failure{Part: part, Log: log, Err: err}:
		default:
		}
	}()
}

func (p *Plane) runKwok(ctx context.Context) error {
	log, err := p.home.Log(KwokLog)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	return nodes.Run(ctx, p.home.Path(kubeconfigName("kwok")), log)
}

func parse(sets cliflag.NamedFlagSets, args []string) error {
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	for _, set := range sets.FlagSets {
		fs.AddFlagSet(set)
	}
	return fs.Parse(args)
}
