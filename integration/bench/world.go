package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/cluster"
)

// patience is how long anything may take before the run is given up.
const patience = 10 * time.Minute

// world is the control plane and the Git server that floor and Plumb share.
type world struct {
	kubeconfig string
	kube       int // process id of the control plane
	objects    dynamic.Interface
	api        *http.Client
	host       string // URL of the API server
	git        *gitserver.Server
}

func newWorld(kube *process, dir string) (*world, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kube.kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	api, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, err
	}
	git, err := gitserver.New(filepath.Join(dir, "git"), gitserver.Options{})
	if err != nil {
		return nil, err
	}
	return &world{kubeconfig: kube.kubeconfig, kube: kube.cmd.Process.Pid, objects: objects, api: api, host: config.Host, git: git}, git.Start()
}

func (w *world) close() { _ = w.git.Stop() }

func (w *world) installCRD(ctx context.Context) error {
	c, err := cluster.Open(cluster.Options{Kubeconfig: w.kubeconfig, UserAgent: "bench"})
	if err != nil {
		return err
	}
	for _, crd := range v1alpha1.CRDs() {
		if err := c.EnsureCRD(ctx, crd); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) namespace(ctx context.Context, name string) error {
	u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": name}}}
	_, err := w.objects.Resource(schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}).Create(ctx, u, metav1.CreateOptions{})
	return err
}

func appName(i int) string { return fmt.Sprintf("app%04d", i) }

// createApplications creates them side by side, as a bootstrap would.
func (w *world) createApplications(ctx context.Context, ns string, count int, repo string) error {
	return w.each(ctx, 16, count, func(ctx context.Context, i int) error {
		u := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "plumb.dev/v1alpha1", "kind": "Application",
			"metadata": map[string]any{"name": appName(i), "namespace": ns},
			"spec":     map[string]any{"source": map[string]any{"repo": w.git.URL(repo), "ref": "main", "path": "apps/" + appName(i)}},
		}}
		_, err := w.objects.Resource(v1alpha1.GroupVersionResource).Namespace(ns).Create(ctx, u, metav1.CreateOptions{})
		return err
	})
}

// clear removes what a measurement left, so that the next one meets as much of it in the
// control plane as this one did. Applications go first, and without their finalizer.
func (w *world) clear(ctx context.Context, ns string) error {
	if err := w.removeApplications(ctx, ns); err != nil {
		return err
	}
	for _, o := range objectsOf(0, "") {
		err := w.objects.Resource(resourceOf(o)).Namespace(ns).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{})
		if err != nil {
			return fmt.Errorf("clear namespace %s: %w", ns, err)
		}
	}
	return nil
}

func (w *world) removeApplications(ctx context.Context, ns string) error {
	apps := w.objects.Resource(v1alpha1.GroupVersionResource).Namespace(ns)
	list, err := apps.List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	return w.each(ctx, 16, len(list.Items), func(ctx context.Context, i int) error {
		name := list.Items[i].GetName()
		if _, err := apps.Patch(ctx, name, types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`), metav1.PatchOptions{}); err != nil {
			return err
		}
		return apps.Delete(ctx, name, metav1.DeleteOptions{})
	})
}

// untilReady is the time from the start of do until a watch has seen every
// Application Ready at the revision; empty is any. The API server may end a watch
// of somebody who is too slow; then it begins anew with what there is.
func (w *world) untilReady(ctx context.Context, ns string, count int, revision string, do func() error) (time.Duration, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("not done within %s", patience))
	defer cancel()
	begin := time.Now()
	done := make(chan error, 1)
	go func() { done <- do() }()
	ready := map[string]bool{}
	for len(ready) < count {
		if err := context.Cause(ctx); err != nil {
			return 0, fmt.Errorf("%d of %d Applications of %s Ready: %w", len(ready), count, ns, err)
		}
		list, err := w.objects.Resource(v1alpha1.GroupVersionResource).Namespace(ns).List(ctx, metav1.ListOptions{})
		if err != nil {
			return 0, err
		}
		for _, u := range list.Items {
			if isReady(&u, revision) {
				ready[u.GetName()] = true
			}
		}
		if err := w.follow(ctx, ns, list.GetResourceVersion(), revision, ready, count, done); err != nil {
			return 0, err
		}
	}
	return time.Since(begin), nil
}

// follow watches until all are ready or the watch ends. An error of done is one.
func (w *world) follow(ctx context.Context, ns, from, revision string, ready map[string]bool, count int, done chan error) error {
	watching, err := w.objects.Resource(v1alpha1.GroupVersionResource).Namespace(ns).Watch(ctx, metav1.ListOptions{ResourceVersion: from})
	if err != nil {
		return err
	}
	defer watching.Stop()
	for len(ready) < count {
		select {
		case err := <-done:
			if err != nil {
				return err
			}
		case e, open := <-watching.ResultChan():
			if !open {
				return nil
			}
			if u, ok := e.Object.(*unstructured.Unstructured); ok && e.Type != watch.Deleted && isReady(u, revision) {
				ready[u.GetName()] = true
			}
		}
	}
	return nil
}

func isReady(u *unstructured.Unstructured, revision string) bool {
	at, _, _ := unstructured.NestedString(u.Object, "status", "revision")
	if at == "" || revision != "" && at != revision {
		return false
	}
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	for _, c := range conditions {
		if m, ok := c.(map[string]any); ok && m["type"] == v1alpha1.ConditionReady {
			return m["status"] == "True"
		}
	}
	return false
}

// process is a program that runs beside the measurement.
type process struct {
	cmd        *exec.Cmd
	kubeconfig string
	log        string
}

func (p *process) stop() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

func startKube(ctx context.Context, program, dir string) (*process, error) {
	p := &process{cmd: exec.Command(program, "up", "--dir", dir), kubeconfig: filepath.Join(dir, "kubeconfig")}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w; build it with: make build", program, err)
	}
	ready := make(chan bool, 1)
	go func() {
		line, _ := bufio.NewReader(out).ReadString('\n')
		ready <- strings.TrimSpace(line) == "ready"
	}()
	select {
	case ok := <-ready:
		if ok {
			return p, nil
		}
	case <-ctx.Done():
	}
	p.stop()
	return nil, fmt.Errorf("start %s: it did not become ready", program)
}
