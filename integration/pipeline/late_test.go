package pipeline

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/event"
)

// The deadline of a wait may pass while no worker runs: what became healthy
// meanwhile is no failure.
func TestAWaitThatNobodyFollowedInTimeEndsAsItStands(t *testing.T) {
	s := stack.New(t)
	ns := s.Kube.Namespace(t)
	late := strings.Replace(deployment("web", "example.com/web:1", 1), "    spec:\n", "    spec:\n      schedulingGates: [{name: example.com/wait}]\n", 1)
	late = strings.Replace(late, "  progressDeadlineSeconds: 5\n", "", 1)
	repo := s.Repo(t, "late/"+ns, map[string]string{"app/d.yaml": late})
	a := stack.Application(ns, "web", repo, "app")
	a.Spec.Sync.Timeout = &metav1.Duration{Duration: 10 * time.Second}
	t.Cleanup(func() { s.Forget(a.Key()) })
	stop := s.Work(t)
	s.Create(t, a)
	waits := s.Await(t, a.Key(), "waiting", func(a *v1alpha1.Application) error {
		if a.Status.LastAttempt == nil || a.Status.LastAttempt.Result != v1alpha1.ResultWaiting {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	s.Eventually(t, "there is a pod", func() error {
		pods, err := s.Objects.Resource(stack.Pods).Namespace(ns).List(t.Context(), metav1.ListOptions{})
		if err == nil && len(pods.Items) == 0 {
			err = fmt.Errorf("there is none")
		}
		return err
	})
	stop()
	ungate(t, s, ns)
	s.Eventually(t, "the deadline passes", func() error {
		if over := time.Since(waits.Status.LastAttempt.Deadline.Time); over < 0 {
			return fmt.Errorf("in %s", -over)
		}
		return nil
	})
	s.Work(t)
	s.Live(t, a.Key(), head(t, s, a.Key()))
	s.Eventually(t, "the end is told once", func() error {
		if finished := s.Facts(t, a.Key(), event.SyncFinished); len(finished) != 1 {
			return fmt.Errorf("it was told %d times", len(finished))
		}
		return nil
	})
}
