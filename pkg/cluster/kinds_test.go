package cluster

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// discovery answers requests for kinds one after the other, each when it is let.
type discovery struct {
	mu      sync.Mutex
	asked   []string
	answers []string
	let     chan struct{}
}

func (d *discovery) read(_ context.Context, path string, into any) error {
	d.mu.Lock()
	answer := d.answers[min(len(d.asked), len(d.answers)-1)]
	d.asked = append(d.asked, path)
	d.mu.Unlock()
	<-d.let
	return json.Unmarshal([]byte(answer), into)
}

func TestKindsAreAskedForTogether(t *testing.T) {
	const (
		none = `{"resources":[]}`
		some = `{"resources":[{"name":"configmaps","kind":"ConfigMap","namespaced":true}]}`
	)
	cases := map[string]struct {
		answers []string
		most    int
	}{
		"many who ask at a time share one request":                   {[]string{some}, 1},
		"an answer from before the kind came is not believed by all": {[]string{none, some}, 11},
	}
	for sentence, test := range cases {
		t.Run(sentence, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := &discovery{answers: test.answers, let: make(chan struct{})}
				k := newKinds(d.read)
				var group sync.WaitGroup
				for range 10 {
					group.Go(func() {
						found, err := k.find(t.Context(), schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"})
						if err != nil || found.resource != "configmaps" {
							t.Errorf("found %v, %v", found, err)
						}
					})
				}
				synctest.Wait()
				if !slices.Equal(d.asked, []string{"/api/v1"}) {
					t.Errorf("asked for %q before the first answer", d.asked)
				}
				close(d.let)
				group.Wait()
				if len(d.asked) > test.most {
					t.Errorf("asked %d times, not at most %d", len(d.asked), test.most)
				}
			})
		})
	}
}
