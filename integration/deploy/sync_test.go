package deploy

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/service"
	"github.com/plumb-gitops/plumb/pkg/service/driftscanner"
	"github.com/plumb-gitops/plumb/pkg/service/worker"
)

// deployed is worker and drift-scanner as the base deploys them, but for the pods:
// their programs, their configuration, their accounts at the API server and at NATS.
type deployed struct {
	*stack.Stack
	secrets string
	nats    string
	log     locked
}

func deploy(t *testing.T) *deployed {
	t.Helper()
	d := &deployed{Stack: stack.Guarded(t)}
	install(t, d.Kube, rendered(t, "base"), system)
	aggregated(t, d.Stack)
	d.secrets, _ = setup(t)
	d.startNATS(t)
	d.run(t, worker.Program(), "worker.yaml")
	d.run(t, driftscanner.Program(), "drift-scanner.yaml", "interval: 5m", "interval: 10s")
	return d
}

// startNATS starts a server with the configuration of the base.
func (d *deployed) startNATS(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	d.nats = free(t)
	must(t, os.Symlink(filepath.Join(d.secrets, "nats"), filepath.Join(dir, "secrets")))
	text := replace(t, read(t, root, "deploy/kubernetes/base/config/nats.conf"), "0.0.0.0:4222", d.nats, "0.0.0.0:8222", free(t),
		"store_dir: /data", "store_dir: \""+dir+"/data\"", "../../run/plumb", "secrets")
	file := filepath.Join(dir, "nats.conf")
	must(t, os.WriteFile(file, []byte(text), 0o600))
	options, err := server.ProcessConfigFile(file)
	must(t, err)
	options.NoSigs, options.NoLog = true, true
	if !options.SyncAlways {
		t.Error("NATS does not write before it confirms")
	}
	running, err := server.NewServer(options)
	must(t, err)
	running.Start()
	t.Cleanup(func() { running.Shutdown(); running.WaitForShutdown() })
	if !running.ReadyForConnections(30 * time.Second) {
		t.Fatal("NATS does not start")
	}
}

// run runs a program with the configuration of the base, until the test ends.
func (d *deployed) run(t *testing.T, p service.Program, file string, pairs ...string) {
	t.Helper()
	dir := t.TempDir()
	text := replace(t, read(t, root, "deploy/kubernetes/base/config", file), append(pairs,
		"nats://nats:4222", "nats://"+d.nats, "/run/plumb", filepath.Join(d.secrets, p.Name), "dataDir: /data", "dataDir: "+dir)...)
	text += "\nkubernetes: {kubeconfig: " + d.kubeconfig(t, "plumb-"+p.Name) + "}\nadmin: {listen: \"" + free(t) + "\"}\ngit: {insecureHosts: [127.0.0.1]}\n"
	path := filepath.Join(dir, "plumb.yaml")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		none := func(string) string { return "" }
		ended <- p.Start(ctx, service.Options{ConfigFile: path, LogFormat: "text", LogLevel: "info"}, none, &d.log)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
	})
}

// kubeconfig is that of an account of plumb-system, with a token as a pod has it.
func (d *deployed) kubeconfig(t *testing.T, account string) string {
	t.Helper()
	token, err := d.Kube.Clientset(t).CoreV1().ServiceAccounts(system).
		CreateToken(t.Context(), account, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	must(t, err)
	c, err := clientcmd.LoadFromFile(d.Kube.Kubeconfig())
	must(t, err)
	for name := range c.AuthInfos {
		c.AuthInfos[name] = &api.AuthInfo{Token: token.Status.Token}
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	must(t, clientcmd.WriteToFile(*c, file))
	return file
}

// application creates one of path web, acting as an account, and its credential.
func (d *deployed) application(t *testing.T, base *v1alpha1.Application, name, account string) app.Key {
	t.Helper()
	a := base.DeepCopy()
	a.Name, a.Spec.ServiceAccountName = name, account
	a.Spec.Source.SecretRef = &v1alpha1.LocalReference{Name: "git"}
	d.Create(t, a)
	t.Cleanup(func() { d.Forget(a.Key()) })
	return a.Key()
}

func (d *deployed) credential(t *testing.T, namespace string) {
	t.Helper()
	_, err := d.Kube.Clientset(t).CoreV1().Secrets(namespace).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "git"},
		StringData: map[string]string{"username": stack.GitUser, "password": stack.GitPassword},
	}, metav1.CreateOptions{})
	must(t, err)
}

func TestTheDeployedAccountsSufficeAndNoMore(t *testing.T) {
	d := deploy(t)
	defer func() {
		if t.Failed() {
			t.Log(d.log.String())
		}
	}()
	namespace, other := d.Kube.Namespace(t), d.Kube.Namespace(t)
	install(t, d.Kube, rendered(t, "tenant"), namespace)
	for _, ns := range []string{namespace, other} {
		deployer(t, d.Stack, ns)
		d.credential(t, ns)
	}
	account(t, d.Stack, namespace, "idle")
	repo := d.Repo(t, "config", map[string]string{
		"web/config.yaml":  stack.ConfigMap("web", "1"),
		"idle/config.yaml": stack.ConfigMap("idle", "1"),
	})
	key := d.application(t, stack.Application(namespace, "", repo, "web"), "web", "deployer")
	idle := d.application(t, stack.Application(namespace, "", repo, "idle"), "idle", "idle")
	nobody := d.application(t, stack.Application(namespace, "", repo, "idle"), "nobody", "")
	stranger := d.application(t, stack.Application(other, "", repo, "web"), "stranger", "deployer")

	t.Run("an account that may write ConfigMaps syncs", func(t *testing.T) {
		d.Await(t, key, "synced", stack.Ready)
		d.Data(t, namespace, "web", map[string]string{"value": "1"})
	})
	t.Run("one that may not is refused for good, and told so", func(t *testing.T) {
		a := d.Failed(t, idle, string(fault.ApplyFailed))
		if m := stack.Condition(a, v1alpha1.ConditionReady).Message; !strings.Contains(m, "forbidden") || !strings.Contains(m, namespace+":idle") {
			t.Errorf("the status says %q", m)
		}
	})
	t.Run("none is AccountMissing", func(t *testing.T) { d.Failed(t, nobody, string(fault.AccountMissing)) })
	t.Run("a namespace that did not join is told what it lacks", func(t *testing.T) {
		d.Await(t, stranger, "refused", func(a *v1alpha1.Application) error {
			return unless(strings.Contains(stack.Condition(a, v1alpha1.ConditionReady).Message, "forbidden"))
		})
		if owned := d.Owned(t, stranger, other); len(owned) > 0 {
			t.Errorf("all the same it has %v", owned)
		}
	})
	t.Run("nothing is done by Plumb's own right", func(t *testing.T) { ownRights(t, d, namespace, other) })
	t.Run("what was changed by hand is seen and healed", func(t *testing.T) {
		d.PatchObject(t, stack.ConfigMaps, namespace, "web", `{"data":{"value":"by hand"}}`)
		d.Data(t, namespace, "web", map[string]string{"value": "1"})
	})
	t.Run("a push that nobody announced is found", func(t *testing.T) {
		sha := d.PushSilently(t, repo, map[string]string{"web/config.yaml": stack.ConfigMap("web", "2")})
		// That another Application came upon the commit by itself tells nobody of it.
		d.Patch(t, idle, `{"metadata":{"annotations":{"`+v1alpha1.SyncAnnotation+`":"now"}}}`)
		d.Await(t, idle, "tried at the commit", func(a *v1alpha1.Application) error { return unless(a.Status.LastAttempt.Revision == sha) })
		d.Live(t, key, sha)
	})
	t.Run("Events are written", func(t *testing.T) {
		d.Eventually(t, "an Event about the failure", func() error {
			events, err := d.Kube.Clientset(t).EventsV1().Events(namespace).List(t.Context(), metav1.ListOptions{})
			must(t, err)
			return unless(len(events.Items) > 0)
		})
	})
	t.Run("a deleted Application takes its objects along", func(t *testing.T) {
		resource := d.Objects.Resource(v1alpha1.GroupVersionResource).Namespace(namespace)
		must(t, resource.Delete(t.Context(), key.Name, metav1.DeleteOptions{}))
		d.Eventually(t, "it is gone", func() error { return unless(d.Get(t, key) == nil) })
		if owned := d.Owned(t, key, namespace); len(owned) > 0 {
			t.Errorf("it leaves %v", owned)
		}
	})
	t.Run("NATS denied nothing", func(t *testing.T) {
		if log := strings.ToLower(d.log.String()); strings.Contains(log, "permissions violation") || strings.Contains(log, "not written") {
			t.Error("something was denied; the log is below")
		}
	})
}

// ownRights tries, with the worker's own token, what only accounts of tenants may.
func ownRights(t *testing.T, d *deployed, namespace, other string) {
	c, err := clientcmd.BuildConfigFromFlags("", d.kubeconfig(t, "plumb-worker"))
	must(t, err)
	write := func(namespace, as string) error {
		asked := rest.CopyConfig(c)
		asked.Impersonate.UserName = as
		client, err := kubernetes.NewForConfig(asked)
		must(t, err)
		_, err = client.CoreV1().ConfigMaps(namespace).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: "tried-"}}, metav1.CreateOptions{})
		return err
	}
	for sentence, c := range map[string]struct{ namespace, as string }{
		"as itself":                         {namespace, ""},
		"in its own namespace":              {system, ""},
		"as an account that did not join":   {other, "system:serviceaccount:" + other + ":deployer"},
		"as an administrator":               {namespace, "kubernetes-admin"},
		"as a controller of the cluster":    {namespace, "system:serviceaccount:kube-system:clusterrole-aggregation-controller"},
		"as the tenant, in other namespace": {other, "system:serviceaccount:" + namespace + ":deployer"},
	} {
		if err := write(c.namespace, c.as); !apierrors.IsForbidden(err) {
			t.Errorf("%s: got %v", sentence, err)
		}
	}
	if err := write(namespace, "system:serviceaccount:"+namespace+":deployer"); err != nil {
		t.Errorf("as the tenant: %v", err)
	}
}

// locked is a log that several programs write to.
type locked struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
