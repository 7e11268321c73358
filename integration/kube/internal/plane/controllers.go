package plane

import (
	"context"

	"k8s.io/kubernetes/cmd/kube-controller-manager/app"
	"k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
)

func (p *Plane) runControllers(ctx context.Context) error {
	s, err := options.NewKubeControllerManagerOptions()
	if err != nil {
		return err
	}
	known, off, aliases := app.KnownControllers(), app.ControllersDisabledByDefault(), app.ControllerAliases()
	if err := parse(s.Flags(known, off, aliases), p.controllerArgs()); err != nil {
		return err
	}
	config, err := s.Config(ctx, known, off, aliases)
	if err != nil {
		return err
	}
	return app.Run(ctx, config.Complete())
}

func (p *Plane) controllerArgs() []string {
	return []string{
		"--kubeconfig=" + p.home.Path(kubeconfigName("controller-manager")),
		"--service-account-private-key-file=" + p.keys.ServiceAccountKey(),
		"--root-ca-file=" + p.keys.Cert("ca"),
		"--leader-elect=false",
		"--secure-port=0",
		"--profiling=false",
		// The default of 20 requests a second would make every test of many applications wait for it.
		"--kube-api-qps=1000",
		"--kube-api-burst=2000",
		// Fake nodes do not die. On a machine that is busy or was asleep their lease can be late all the same,
		// and the pods must not turn unready for that.
		"--node-monitor-grace-period=1h",
		// Nothing here signs certificates, mounts or migrates anything, or measures load.
		"--controllers=*" +
			",-certificatesigningrequest-approving-controller" +
			",-certificatesigningrequest-cleaner-controller" +
			",-certificatesigningrequest-signing-controller" +
			",-device-taint-eviction-controller" +
			",-horizontal-pod-autoscaler-controller" +
			",-legacy-serviceaccount-token-cleaner-controller" +
			",-persistentvolume-attach-detach-controller" +
			",-persistentvolume-expander-controller" +
			",-resourceclaim-controller" +
			",-ttl-controller",
	}
}
