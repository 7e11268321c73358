package acceptance

import (
	"context"
	"fmt"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// etcd runs without fsync here, so this is worth a proof: what was answered is in the page cache, and survives.
func TestKillAmidWritesLosesNothingAnswered(t *testing.T) {
	dir := t.TempDir()
	var answered []string
	for round := range 3 {
		i := up(t, dir)
		c, _ := i.client(t)
		expectConfigMaps(t, c, answered)
		written := writeUntilDown(t.Context(), c, round)
		time.Sleep(time.Second)
		i.signal(t, syscall.SIGKILL)
		answered = append(answered, <-written...)
	}
	c, _ := up(t, dir).client(t)
	expectConfigMaps(t, c, answered)
	t.Logf("%d writes answered and kept", len(answered))
}

// writeUntilDown creates objects as fast as it can until one is not answered, then gives the names of the others.
func writeUntilDown(ctx context.Context, c kubernetes.Interface, round int) <-chan []string {
	done := make(chan []string, 1)
	go func() {
		var names []string
		for n := 0; ; n++ {
			name := fmt.Sprintf("round-%d-%d", round, n)
			cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
			if _, err := c.CoreV1().ConfigMaps("default").Create(ctx, cm, create); err != nil {
				done <- names
				return
			}
			names = append(names, name)
		}
	}()
	return done
}

func expectConfigMaps(t *testing.T, c kubernetes.Interface, names []string) {
	t.Helper()
	list, err := c.CoreV1().ConfigMaps("default").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, cm := range list.Items {
		there[cm.Name] = true
	}
	for _, name := range names {
		if !there[name] {
			t.Errorf("%s was answered and is gone", name)
		}
	}
}
