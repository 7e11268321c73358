package plane

import (
	"context"

	"k8s.io/client-go/tools/cache"
	"k8s.io/kubernetes/cmd/kube-scheduler/app"
	"k8s.io/kubernetes/cmd/kube-scheduler/app/options"
)

func (p *Plane) runScheduler(ctx context.Context) error {
	opts := options.NewOptions()
	if err := parse(*opts.Flags, p.schedulerArgs()); err != nil {
		return err
	}
	informers, err := cache.NewInformerName("kube-scheduler")
	if err != nil {
		return err
	}
	opts.InformerName = informers
	config, scheduler, err := app.Setup(ctx, opts)
	if err != nil {
		return err
	}
	return app.Run(ctx, config, scheduler)
}

func (p *Plane) schedulerArgs() []string {
	return []string{
		"--kubeconfig=" + p.home.Path(kubeconfigName("scheduler")),
		"--leader-elect=false",
		"--secure-port=0",
		"--profiling=false",
		"--kube-api-qps=1000",
		"--kube-api-burst=2000",
	}
}
