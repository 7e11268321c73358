// Package nodes is the part of the cluster that is not real: two nodes kept by kwok, on which pods start at once,
// Jobs complete, and volumes bind. How they behave is written in stages/: kwok's own files, unchanged, and, named
// own-*, ours for what goes wrong.
package nodes

import (
	"context"
	"embed"
	"fmt"
	"io"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/kwok/pkg/apis/internalversion"
	"sigs.k8s.io/kwok/pkg/config"
	"sigs.k8s.io/kwok/pkg/kwok/controllers"
	"sigs.k8s.io/kwok/pkg/log"
	"sigs.k8s.io/kwok/pkg/utils/client"
)

//go:embed stages/*.yaml
var stageFiles embed.FS

// Run keeps the nodes and their pods until ctx ends. kwok's command would do the same, but it reads os.Args and
// the home directory of whoever runs it.
func Run(ctx context.Context, kubeconfig string, logTo io.Writer) error {
	ctx = log.NewContext(ctx, log.NewLogger(logTo, log.LevelInfo))
	conf, err := controllerConfig(kubeconfig)
	if err != nil {
		return err
	}
	controller, err := controllers.NewController(conf)
	if err != nil {
		return err
	}
	if err := controller.Start(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}

func controllerConfig(kubeconfig string) (controllers.Config, error) {
	stages, err := loadStages()
	if err != nil {
		return controllers.Config{}, err
	}
	conf := controllers.Config{
		Clock:          clock.RealClock{},
		ID:             "plumb-kube",
		ManageAllNodes: true,
		LocalStages:    stages,
		// Every pod gets an address of its own out of these; kwok's default has room for 254.
		CIDR:   "10.244.0.0/16",
		NodeIP: "10.0.0.1",
		// The node controller wants to see a lease renewed. kwok renews at a quarter of this.
		NodeLeaseDurationSeconds: 40,
		NodeLeaseParallelism:     1,
		NodePlayStageParallelism: 1,
		// Each waits for one status write at a time; four would be the bottleneck of a rollout.
		PodPlayStageParallelism:   16,
		PodsOnNodeSyncParallelism: 1,
	}
	err = connect(&conf, kubeconfig)
	return conf, err
}

// connect gives kwok its clients, none of them throttled.
func connect(conf *controllers.Config, kubeconfig string) error {
	set, err := client.NewClientset("", kubeconfig)
	if err != nil {
		return err
	}
	cfg, err := set.ToRESTConfig()
	if err != nil {
		return err
	}
	cfg.UserAgent = "kwok"
	if conf.DynamicClient, err = set.ToDynamicClient(); err != nil {
		return err
	}
	if conf.RESTMapper, err = set.ToRESTMapper(); err != nil {
		return err
	}
	if conf.RESTClient, err = rest.RESTClientFor(cfg); err != nil {
		return err
	}
	conf.ImpersonatingDynamicClient = set.ToImpersonatingDynamicClient()
	conf.ImpersonatingTypedClient = set.ToImpersonatingTypedClient()
	conf.TypedClient, err = kubernetes.NewForConfig(cfg)
	return err
}

type stagesByRef = map[internalversion.StageResourceRef][]*internalversion.Stage

func loadStages() (stagesByRef, error) {
	entries, err := stageFiles.ReadDir("stages")
	if err != nil {
		return nil, err
	}
	stages := stagesByRef{}
	for _, e := range entries {
		text, err := stageFiles.ReadFile("stages/" + e.Name())
		if err != nil {
			return nil, err
		}
		stage, err := config.UnmarshalWithType[*internalversion.Stage](text)
		if err != nil {
			return nil, fmt.Errorf("read stage %s: %w", e.Name(), err)
		}
		stages[stage.Spec.ResourceRef] = append(stages[stage.Spec.ResourceRef], stage)
	}
	return stages, nil
}
