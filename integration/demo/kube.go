package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/plumb-gitops/plumb/integration/demo/feed"
	"github.com/plumb-gitops/plumb/integration/demo/process"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

var (
	applications = v1alpha1.GroupVersionResource
	deployments  = schema.GroupVersionResource{Group: "apps", Version: "v1", Resource: "deployments"}
	configMaps   = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	namespaces   = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
)

// home is the namespace of the Applications; what belongs to web goes to home-web.
const home = "plumb-demo"

// names of the Applications.
var names = []string{"web", "shop", "greeter"}

func target(name string) string { return home + "-" + name }

// ownNamespaces are all that the demo uses.
func ownNamespaces() []string {
	all := []string{home}
	for _, n := range names {
		all = append(all, target(n))
	}
	return all
}

// change is one event of a watch on the API server.
type change struct {
	at       time.Time
	resource schema.GroupVersionResource
	object   *unstructured.Unstructured
	gone     bool
}

func (c change) is(resource schema.GroupVersionResource, namespace, name string) bool {
	return c.resource == resource && c.object.GetNamespace() == namespace && c.object.GetName() == name
}

// kube is the cluster that is played on.
type kube struct {
	kubeconfig string
	objects    dynamic.Interface
	process    *process.Process // nil: the cluster of KUBECONFIG
	changes    feed.Feed[change]
}

// startKube starts a control plane, or takes the cluster of KUBECONFIG.
func startKube(ctx context.Context, o options) (*kube, error) {
	if given := os.Getenv("KUBECONFIG"); given != "" {
		k := &kube{kubeconfig: given}
		if err := k.connect(); err != nil {
			return nil, err
		}
		return k, k.unused(ctx)
	}
	dir := filepath.Join(o.dir, "kube")
	k := &kube{kubeconfig: filepath.Join(dir, "kubeconfig")}
	var err error
	k.process, err = process.Start(process.Command{
		Name: "plumb-kube", Program: filepath.Join(o.bin, "plumb-kube"), Args: []string{"up", "--dir", dir},
		Log: filepath.Join(o.dir, "plumb-kube.log"), Ready: "ready",
	})
	if err != nil {
		return nil, fmt.Errorf("%w; make build builds it", err)
	}
	select {
	case <-k.process.Ready():
		return k, k.connect()
	case <-k.process.Ended():
		return k, k.process.Failure()
	case <-ctx.Done():
		return k, context.Cause(ctx)
	}
}

func (k *kube) connect() error {
	rules := clientcmd.NewDefaultClientConfigLoadingRules() // KUBECONFIG may name several files
	if k.process != nil {
		rules = &clientcmd.ClientConfigLoadingRules{ExplicitPath: k.kubeconfig}
	}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return fmt.Errorf("read KUBECONFIG %s: %w", k.kubeconfig, err)
	}
	config.QPS, config.UserAgent = -1, "plumb-demo"
	if k.objects, err = dynamic.NewForConfig(config); err != nil {
		return fmt.Errorf("connect to the cluster: %w", err)
	}
	return nil
}

// unused refuses a cluster in which the demo could meddle with somebody's own
// Applications or namespaces.
func (k *kube) unused(ctx context.Context) error {
	list, err := k.objects.Resource(applications).List(ctx, metav1.ListOptions{Limit: 1})
	switch {
	case err == nil && len(list.Items) > 0:
		return fmt.Errorf("the cluster of KUBECONFIG has Applications (%s/%s), which the Plumb of the demo would sync too; unset KUBECONFIG, or name a cluster without",
			list.Items[0].GetNamespace(), list.Items[0].GetName())
	case err != nil && !apierrors.IsNotFound(err):
		return fmt.Errorf("look at the cluster of KUBECONFIG: %w", err)
	}
	for _, n := range ownNamespaces() {
		switch _, err := k.objects.Resource(namespaces).Get(ctx, n, metav1.GetOptions{}); {
		case err == nil:
			return fmt.Errorf("namespace %s is in the cluster of KUBECONFIG already; when nobody needs it: kubectl delete namespace %s", n, n)
		case !apierrors.IsNotFound(err):
			return fmt.Errorf("look at the cluster of KUBECONFIG: %w", err)
		}
	}
	return nil
}

// watch begins to follow what is played with, until ctx ends.
func (k *kube) watch(ctx context.Context) error {
	for _, namespace := range ownNamespaces() {
		factory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(k.objects, 0, namespace, nil)
		for _, resource := range []schema.GroupVersionResource{applications, deployments, configMaps} {
			if _, err := factory.ForResource(resource).Informer().AddEventHandler(k.follow(resource)); err != nil {
				return fmt.Errorf("watch %s: %w", resource.Resource, err)
			}
		}
		factory.Start(ctx.Done())
		for resource, synced := range factory.WaitForCacheSync(ctx.Done()) {
			if !synced {
				return fmt.Errorf("watch %s: %w", resource.Resource, context.Cause(ctx))
			}
		}
	}
	return nil
}

func (k *kube) follow(resource schema.GroupVersionResource) cache.ResourceEventHandler {
	add := func(o any, gone bool) {
		if u, ok := o.(*unstructured.Unstructured); ok {
			k.changes.Add(change{at: time.Now(), resource: resource, object: u, gone: gone})
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { add(o, false) },
		UpdateFunc: func(_, o any) { add(o, false) },
		DeleteFunc: func(o any) {
			if missed, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = missed.Obj
			}
			add(o, true)
		},
	}
}

// create creates an object and returns when that was asked for.
func (k *kube) create(ctx context.Context, resource schema.GroupVersionResource, o map[string]any) (time.Time, error) {
	u := &unstructured.Unstructured{Object: o}
	at := time.Now()
	_, err := k.objects.Resource(resource).Namespace(u.GetNamespace()).Create(ctx, u, metav1.CreateOptions{FieldManager: "kubectl-create"})
	if err != nil {
		return at, fmt.Errorf("create %s %s: %w", resource.Resource, u.GetName(), err)
	}
	return at, nil
}

// into reads an object as its Go type.
func into[T any](u *unstructured.Unstructured) *T {
	var t T
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &t); err != nil {
		return new(T) // an object of another shape is never what is awaited
	}
	return &t
}
