package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plumb-gitops/plumb/integration/gitserver"
	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/event"
)

// chain makes n Applications of one repository, each depending on the one before.
func chain(t *testing.T, s *stack.Stack, repo *gitserver.Repo, ns string, n int) []app.Key {
	t.Helper()
	var keys []app.Key
	for i := range n {
		a := stack.Application(ns, fmt.Sprintf("app-%d", i), repo, fmt.Sprintf("app-%d", i))
		if i > 0 {
			a.Spec.DependsOn = []v1alpha1.Dependency{{Name: fmt.Sprintf("app-%d", i-1)}}
		}
		t.Cleanup(func() { s.Forget(a.Key()) })
		keys = append(keys, a.Key())
		s.Create(t, a)
	}
	return keys
}

func chainFiles(n int, value string) map[string]string {
	files := map[string]string{}
	for i := range n {
		files[fmt.Sprintf("app-%d/cm.yaml", i)] = stack.ConfigMap(fmt.Sprintf("cm-%d", i), value)
	}
	return files
}

// One push of a chain is applied in its order, each when the one before is healthy at
// the same revision, and much sooner than anything is asked for again.
func TestAChainOfTenSettles(t *testing.T) {
	const n = 10
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "chain/"+ns, chainFiles(n, "one"))
	keys := chain(t, s, repo, ns, n)
	for _, key := range keys {
		s.Live(t, key, headOf(t, repo))
	}
	for _, key := range keys {
		s.Settled(t, key)
	}
	began := time.Now()
	second := s.Push(t, repo, chainFiles(n, "two"))
	var starts []time.Time
	for _, key := range keys {
		a := s.Live(t, key, second)
		starts = append(starts, a.Status.LastAttempt.StartedAt.Time)
		if got := a.Status.LastAttempt.Reason; key != keys[0] && got != event.ReasonDependency {
			t.Errorf("%s was woken by %s", key, got)
		}
	}
	if !slices.IsSortedFunc(starts, time.Time.Compare) {
		t.Errorf("starts: %v", starts)
	}
	if took := time.Since(began); took > 20*time.Second { // repair looks every 30 s
		t.Errorf("it took %s", took)
	}
}

// A dependency that is healthy at an old revision does not count: its inputs at the
// dependent's revision must be those that it applied.
func TestADependencyAtAnOldRevisionDoesNotCount(t *testing.T) {
	s := stack.New(t)
	stop := s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "old/"+ns, chainFiles(2, "one"))
	keys := chain(t, s, repo, ns, 2)
	s.Live(t, keys[1], headOf(t, repo))
	// In manual mode the dependency stays where it is, and is Ready there.
	s.Patch(t, keys[0], `{"spec":{"sync":{"mode":"manual"}},"metadata":{"annotations":{"plumb.dev/sync":"as-it-is"}}}`)
	s.Await(t, keys[0], "ready in manual mode", func(a *v1alpha1.Application) error {
		if a.Status.Requested != "as-it-is" {
			return fmt.Errorf("requested %q", a.Status.Requested)
		}
		return stack.Ready(a)
	})
	s.Settled(t, keys[1])
	second := s.Push(t, repo, chainFiles(2, "two"))
	waiting := held(t, s, keys[1], "DependencyNotReady", second)
	if m := waiting.Status.Waiting.Message; !strings.Contains(m, keys[0].String()) || !strings.Contains(m, fmt.Sprintf("%.8s changes it", second)) {
		t.Errorf("message %q", m)
	}
	if got := data(t, s, ns, "cm-1"); got != "one" {
		t.Errorf("the dependent went ahead: %q", got)
	}
	// A worker that starts anew wakes it as well.
	stop()
	s.Patch(t, keys[0], `{"metadata":{"annotations":{"plumb.dev/sync":"now"}}}`)
	s.Work(t)
	s.Live(t, keys[0], second)
	s.Live(t, keys[1], second)

	// What does not touch the dependency does not wait for it.
	third := s.Push(t, repo, map[string]string{"app-1/cm.yaml": stack.ConfigMap("cm-1", "three")})
	s.Live(t, keys[1], third)
}

// A dependent waits for the health of what it depends on, and is woken when that
// comes, by whichever worker there is then.
func TestADependentWaitsForHealthOverARestart(t *testing.T) {
	s := stack.New(t)
	stop := s.Work(t)
	ns := s.Kube.Namespace(t)
	late := strings.Replace(deployment("db", "example.com/db:1", 1), "    spec:\n", "    spec:\n      schedulingGates: [{name: example.com/wait}]\n", 1)
	late = strings.Replace(late, "  progressDeadlineSeconds: 5\n", "", 1)
	repo := s.Repo(t, "restart/"+ns, map[string]string{"app-0/d.yaml": late, "app-1/cm.yaml": stack.ConfigMap("cm-1", "one")})
	keys := chain(t, s, repo, ns, 2)
	first := headOf(t, repo)
	held(t, s, keys[1], "DependencyNotReady", first)
	s.Await(t, keys[0], "waiting for health", func(a *v1alpha1.Application) error {
		if a.Status.LastAttempt == nil || a.Status.LastAttempt.Result != v1alpha1.ResultWaiting {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	absent(t, s, ns, "cm-1")
	stop()
	ungate(t, s, ns)
	s.Work(t)
	s.Live(t, keys[0], first)
	s.Live(t, keys[1], first)
}

// A circle is told with its path, and nothing of it is applied until it is broken,
// by whichever of its members.
func TestACircleOfDependencies(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "circle/"+ns, chainFiles(3, "one"))
	keys := chain(t, s, repo, ns, 3)
	s.Live(t, keys[2], headOf(t, repo))
	s.Patch(t, keys[0], `{"spec":{"dependsOn":[{"name":"app-2"}]}}`)
	got := s.Failed(t, keys[0], "DependencyNotReady")
	want := fmt.Sprintf("%[1]s/app-0 -> %[1]s/app-2 -> %[1]s/app-1 -> %[1]s/app-0", ns)
	if m := stack.Condition(got, "Ready").Message; !strings.Contains(m, want) {
		t.Errorf("message %q, want the path %s", m, want)
	}
	s.Patch(t, keys[1], `{"spec":{"dependsOn":null}}`)
	s.Live(t, keys[0], headOf(t, repo))

	// One that is not there is waited for, in another namespace, too.
	other := s.Kube.Namespace(t)
	s.Patch(t, keys[1], fmt.Sprintf(`{"spec":{"dependsOn":[{"name":"later","namespace":%q}]}}`, other))
	missing := held(t, s, keys[1], "DependencyNotReady", headOf(t, repo))
	if m := missing.Status.Waiting.Message; !strings.Contains(m, "Application "+other+"/later: it does not exist") {
		t.Errorf("message %q", m)
	}
	later := stack.Application(other, "later", repo, "app-2")
	t.Cleanup(func() { s.Forget(later.Key()) })
	s.Create(t, later)
	s.Live(t, keys[1], headOf(t, repo))
}
