package plane

import (
	"context"
	"net"

	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/client-go/tools/cache"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
	"k8s.io/kubernetes/cmd/kube-apiserver/app/options"
)

const (
	serviceRange = "10.96.0.0/16"
	serviceIP    = "10.96.0.1" // the first of the range is that of the service `kubernetes`
)

// auditPolicy keeps who, what and when of every answered request, and no bodies: enough to count and to order.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
`

func (p *Plane) runAPIServer(ctx context.Context) error {
	opts, err := p.apiServerOptions(ctx)
	if err != nil {
		return err
	}
	config, err := app.NewConfig(opts)
	if err != nil {
		return err
	}
	// The aggregator's chain is the outermost: every request passes it first.
	outer := &config.Aggregator.GenericConfig.BuildHandlerChainFunc
	*outer = namingParts(*outer)
	completed, err := config.Complete()
	if err != nil {
		return err
	}
	chain, err := app.CreateServerChain(completed)
	if err != nil {
		return err
	}
	prepared, err := chain.PrepareRun()
	if err != nil {
		return err
	}
	return prepared.Run(ctx)
}

func (p *Plane) apiServerOptions(ctx context.Context) (options.CompletedOptions, error) {
	var none options.CompletedOptions
	args := p.apiServerArgs()
	if p.audit {
		if err := p.home.Write("audit-policy.yaml", []byte(auditPolicy), 0o600); err != nil {
			return none, err
		}
		args = append(args, p.auditArgs()...)
	}
	s := options.NewServerRunOptions()
	if err := parse(s.Flags(), args); err != nil {
		return none, err
	}
	s.SecureServing.Listener = p.listener
	s.SecureServing.ExternalAddress = p.listener.Addr().(*net.TCPAddr).IP
	informers, err := cache.NewInformerName(sharedName)
	if err != nil {
		return none, err
	}
	s.InformerName = informers
	completed, err := s.Complete(ctx)
	if err != nil {
		return none, err
	}
	return completed, utilerrors.NewAggregate(completed.Validate())
}

func (p *Plane) apiServerArgs() []string {
	return []string{
		"--etcd-servers=" + etcdClient,
		"--client-ca-file=" + p.keys.Cert("ca"),
		"--tls-cert-file=" + p.keys.Cert("apiserver"),
		"--tls-private-key-file=" + p.keys.Key("apiserver"),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + p.keys.ServiceAccountKey(),
		"--service-account-signing-key-file=" + p.keys.ServiceAccountKey(),
		"--service-cluster-ip-range=" + serviceRange,
		"--authorization-mode=Node,RBAC",
		"--allow-privileged",
		"--profiling=false",
		// A loopback address may not stand in the endpoints of the service `kubernetes`, and no pod runs that
		// would look for it there.
		"--endpoint-reconciler-type=none",
	}
}

// auditArgs write before the answer is sent, so that who has an answer finds its line; and into one file, since
// rotation would hide the older half from a test that counts.
func (p *Plane) auditArgs() []string {
	return []string{
		"--audit-policy-file=" + p.home.Path("audit-policy.yaml"),
		"--audit-log-path=" + p.home.Path("audit.log"),
		"--audit-log-mode=blocking",
		"--audit-log-maxsize=100000",
	}
}
