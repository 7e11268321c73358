package pipeline

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/event"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

// canary is in a Secret that a container uses, and in its log.
const canary = "c4nary-of-the-health-test"

// crashing is a Deployment whose only Pod crashes on a node that has logs.
func crashing(node string) string {
	return strings.Replace(deployment("web", "example.com/web:crash", 1), "      containers: [{name: main, image: \"example.com/web:crash\"}]\n", fmt.Sprintf(`
      nodeName: %s
      containers:
      - {name: main, image: "example.com/web:crash", env: [{name: DSN, valueFrom: {secretKeyRef: {name: dsn, key: dsn}}}]}
`, node), 1)
}

// logs is a node whose containers all leave the same last line.
func logs(t *testing.T, s *stack.Stack) (node string) {
	return s.Kube.Kubelet(t, func(string, url.Values) string { return "panic: dial postgres as " + canary + ": refused\n" })
}

func secret(t *testing.T, s *stack.Stack, ns string) {
	t.Helper()
	_, err := s.Kube.Clientset(t).CoreV1().Secrets(ns).Create(t.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "dsn"}, StringData: map[string]string{"dsn": canary},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
}

// says looks for parts of the Ready message, those with ! in vain.
func says(t *testing.T, a *v1alpha1.Application, parts ...string) {
	t.Helper()
	message := stack.Condition(a, "Ready").Message
	for _, part := range parts {
		part, not := strings.CutPrefix(part, "!")
		if strings.Contains(message, part) == not {
			t.Errorf("message %q: %q is there: %v", message, part, not)
		}
	}
}

// keepsSecrets looks for the canary in everything that is told.
func keepsSecrets(t *testing.T, s *stack.Stack, a *v1alpha1.Application) {
	t.Helper()
	status, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	told := string(status) + s.Logs()
	for _, kind := range []event.Type{event.SyncFinished, event.HealthChanged} {
		for _, f := range s.Facts(t, a.Key(), kind) {
			told += fmt.Sprint(f.Data)
		}
	}
	if strings.Contains(told, canary) {
		t.Error("the secret was told")
	}
}

func TestACrashingPodTellsWhyInItsOwnWords(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	secret(t, s, ns)
	repo := s.Repo(t, "crash/"+ns, map[string]string{"app/d.yaml": crashing(logs(t, s))})
	a := stack.Application(ns, "web", repo, "app")
	t.Cleanup(func() { s.Forget(a.Key()) })
	s.Create(t, a)
	failed := s.Failed(t, a.Key(), "HealthFailed")
	says(t, failed, "Deployment "+ns+"/web: Degraded, progress deadline exceeded", "; Pod web-", "container main: CrashLoopBackOff, restarts: 3, exit code 1 (Error)",
		`last line: "panic: dial postgres as (redacted): refused"`)
	if c := stack.Condition(failed, "Healthy"); !strings.Contains(c.Message, "CrashLoopBackOff") {
		t.Errorf("condition %+v", c)
	}
	keepsSecrets(t, s, failed)
}

func TestAMissingImageIsNamed(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "image/"+ns, map[string]string{"app/d.yaml": deployment("web", "example.com/web:missing", 1)})
	a := stack.Application(ns, "web", repo, "app")
	t.Cleanup(func() { s.Forget(a.Key()) })
	s.Create(t, a)
	says(t, s.Failed(t, a.Key(), "HealthFailed"), "container main: ImagePullBackOff", "example.com/web:missing", "!last line")
}

// account makes an account that may do this besides writing Deployments.
func account(t *testing.T, s *stack.Stack, ns string, more ...rbacv1.PolicyRule) {
	t.Helper()
	clientset := s.Kube.Clientset(t)
	name := metav1.ObjectMeta{Name: "deployer"}
	rules := append(more, rbacv1.PolicyRule{APIGroups: []string{"apps"}, Resources: []string{"deployments"}, Verbs: []string{"*"}})
	_, err := clientset.CoreV1().ServiceAccounts(ns).Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: name}, metav1.CreateOptions{})
	if err == nil {
		_, err = clientset.RbacV1().Roles(ns).Create(t.Context(), &rbacv1.Role{ObjectMeta: name, Rules: rules}, metav1.CreateOptions{})
	}
	if err == nil {
		_, err = clientset.RbacV1().RoleBindings(ns).Create(t.Context(), &rbacv1.RoleBinding{
			ObjectMeta: name, RoleRef: rbacv1.RoleRef{APIGroup: "rbac.authorization.k8s.io", Kind: "Role", Name: "deployer"},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: ns, Name: "deployer"}},
		}, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What the account of the Application may not read is left out, and fails nothing
// more. Where a Secret cannot be read, it cannot be kept out of a line.
func TestPodsAreReadAsTheAccount(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	node := logs(t, s)
	read := func(group string, resources ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: []string{"get", "list", "watch"}}
	}
	pods := []rbacv1.PolicyRule{read("", "pods"), read("apps", "replicasets")}
	tests := map[string]struct {
		rules []rbacv1.PolicyRule
		says  []string
	}{
		"nothing":                {nil, []string{"!Pod web-"}},
		"Pods":                   {pods, []string{"CrashLoopBackOff", "!last line"}},
		"Pods and logs":          {append(pods, read("", "pods/log")), []string{"CrashLoopBackOff", "!last line"}},
		"Pods and Secrets":       {append(pods, read("", "secrets")), []string{"CrashLoopBackOff", "!last line"}},
		"Pods, logs and Secrets": {append(pods, read("", "pods/log", "secrets")), []string{"CrashLoopBackOff", `last line: "panic: dial postgres as (redacted)`}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := s.Kube.Namespace(t)
			secret(t, s, ns)
			account(t, s, ns, tt.rules...)
			repo := s.Repo(t, "account/"+ns, map[string]string{"app/d.yaml": crashing(node)})
			a := stack.Application(ns, "web", repo, "app")
			a.Spec.ServiceAccountName = "deployer"
			t.Cleanup(func() { s.Forget(a.Key()) })
			s.Create(t, a)
			failed := s.Failed(t, a.Key(), "HealthFailed")
			says(t, failed, append(tt.says, "Deployment "+ns+"/web: Degraded")...)
			keepsSecrets(t, s, failed)
		})
	}
}

func TestAFailedHookTellsItsLastLine(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	hook := strings.Replace(job("migrate", "crash", preSync), "      restartPolicy", "      nodeName: "+logs(t, s)+"\n      restartPolicy", 1)
	repo := s.Repo(t, "hook/"+ns, map[string]string{"app/hook.yaml": hook, "app/cm.yaml": stack.ConfigMap("web", "one")})
	a := stack.Application(ns, "web", repo, "app")
	t.Cleanup(func() { s.Forget(a.Key()) })
	s.Create(t, a)
	says(t, s.Failed(t, a.Key(), "HealthFailed"), "pre-sync hook Job "+ns+"/migrate failed", "Pod migrate-", "exit code 1 (Error)", "last line: \"panic: dial postgres as ")
}

// thing is a definition with a status, and an object of it.
func thing(ns string, annotations ...string) string {
	return fmt.Sprintf(`apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: things.%[1]s.example.com}
spec:
  group: %[1]s.example.com
  scope: Namespaced
  names: {kind: Thing, listKind: ThingList, plural: things, singular: thing}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}}
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
apiVersion: %[1]s.example.com/v1
kind: Thing
metadata: {name: main, annotations: {%[2]s}}
---
`, ns, strings.Join(annotations, ", "))
}

func thingRule(ns string) []v1alpha1.HealthRule {
	return []v1alpha1.HealthRule{{APIVersion: ns + ".example.com/v1", Kind: "Thing", Failed: "object.status.phase == 'Broken'", Current: "object.status.phase == 'Up'"}}
}

// become sets the phase of the thing, and returns the revision of the cluster that did.
func become(t *testing.T, s *stack.Stack, ns, phase string) (revision uint64) {
	t.Helper()
	things := schema.GroupVersionResource{Group: ns + ".example.com", Version: "v1", Resource: "things"}
	s.Eventually(t, "there is a thing", func() error {
		u, err := s.Objects.Resource(things).Namespace(ns).Patch(t.Context(), "main", types.MergePatchType,
			[]byte(`{"status":{"phase":"`+phase+`"}}`), metav1.PatchOptions{}, "status")
		if err == nil {
			revision = revisionOf(t, u)
		}
		return err
	})
	return revision
}

func revisionOf(t *testing.T, u *unstructured.Unstructured) uint64 {
	t.Helper()
	revision, err := strconv.ParseUint(u.GetResourceVersion(), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

// The next wave begins when the rule says so, and the end of the attempt follows it.
func TestARuleOfTheApplicationHoldsAWaveBack(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "wave/"+ns, map[string]string{"app/all.yaml": thing(ns) + annotated("late", "l", `plumb.dev/wave: "1"`)})
	a := stack.Application(ns, "web", repo, "app")
	a.Spec.Health = thingRule(ns)
	s.Create(t, a)
	t.Cleanup(func() { s.Forget(a.Key()) })
	become(t, s, ns, "Starting")
	// Meanwhile another Application is synced from beginning to end.
	other := stack.Application(ns, "other", s.Repo(t, "other/"+ns, map[string]string{"app/cm.yaml": stack.ConfigMap("other", "o")}), "app")
	t.Cleanup(func() { s.Forget(other.Key()) })
	s.Create(t, other)
	s.Await(t, other.Key(), "it is ready", stack.Ready)
	up := become(t, s, ns, "Up")
	s.Live(t, a.Key(), head(t, s, a.Key()))
	late, err := s.Objects.Resource(stack.ConfigMaps).Namespace(ns).Get(t.Context(), "late", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if made := revisionOf(t, late); made < up {
		t.Errorf("the next wave began at %d, before %d", made, up)
	}
}

func TestATimeoutNamesTheWorstObject(t *testing.T) {
	for name, more := range map[string]string{"in a wave": annotated("late", "l", `plumb.dev/wave: "1"`), "at the end": annotated("beside", "b")} {
		t.Run(name, func(t *testing.T) {
			s := stack.New(t)
			s.Work(t)
			ns := s.Kube.Namespace(t)
			repo := s.Repo(t, "timeout/"+ns, map[string]string{"app/all.yaml": thing(ns) + more})
			a := stack.Application(ns, "web", repo, "app")
			a.Spec.Health, a.Spec.Sync.Timeout = thingRule(ns), &metav1.Duration{Duration: 6 * time.Second}
			t.Cleanup(func() { s.Forget(a.Key()) })
			s.Create(t, a)
			become(t, s, ns, "Starting")
			says(t, s.Failed(t, a.Key(), "HealthTimeout"), "not healthy in time: Thing "+ns+"/main: Progressing, spec.health[0].current is not true")
		})
	}
}

// A failure of health is over when the objects are healthy, with no sweep between.
func TestHealthFollowsTheClusterAfterAFailure(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	s.Scan(t, time.Hour)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "recovery/"+ns, map[string]string{"app/all.yaml": thing(ns)})
	a := stack.Application(ns, "web", repo, "app")
	a.Spec.Health = thingRule(ns)
	t.Cleanup(func() { s.Forget(a.Key()) })
	s.Create(t, a)
	become(t, s, ns, "Broken")
	says(t, s.Failed(t, a.Key(), "HealthFailed"), "Thing "+ns+"/main: Degraded, spec.health[0].failed is true")
	become(t, s, ns, "Up")
	s.Live(t, a.Key(), head(t, s, a.Key()))
	become(t, s, ns, "Broken")
	s.Failed(t, a.Key(), "HealthFailed")
	s.Eventually(t, "each change is told", func() error {
		var told []string
		for _, f := range s.Facts(t, a.Key(), event.HealthChanged) {
			told = append(told, f.Data.(*eventsv1.HealthChanged).GetTo())
		}
		if got := strings.Join(told, " "); !strings.HasSuffix(got, "Degraded Healthy Degraded") {
			return fmt.Errorf("told: %s", got)
		}
		return nil
	})
}

func TestARuleThatCannotBeIsRefusedByName(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "rule/"+ns, map[string]string{"app/cm.yaml": stack.ConfigMap("web", "one")})
	a := stack.Application(ns, "web", repo, "app")
	a.Spec.Health = []v1alpha1.HealthRule{{APIVersion: "v1", Kind: "ConfigMap", Current: "object.data.value"}, {APIVersion: "v1", Kind: "Secret", Failed: "1"}}
	t.Cleanup(func() { s.Forget(a.Key()) })
	s.Create(t, a)
	says(t, s.Failed(t, a.Key(), "ApplyFailed"), "spec.health[1].failed: gives int; want true or false")
	if n := len(list(t, s, stack.ConfigMaps, ns)); n != 0 {
		t.Errorf("%d objects were applied after all", n)
	}
}
