package registry_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/plumb-gitops/plumb/integration/demo/feed"
	"github.com/plumb-gitops/plumb/integration/demo/registry"
)

type notification struct {
	authorization, tag, digest string
}

func TestAPushIsToldToTheHook(t *testing.T) {
	var told feed.Feed[notification]
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var envelope struct {
			Events []struct{ Target struct{ Tag, Digest string } }
		}
		if err := json.NewDecoder(r.Body).Decode(&envelope); err != nil {
			t.Error(err)
		}
		for _, e := range envelope.Events {
			told.Add(notification{r.Header.Get("Authorization"), e.Target.Tag, e.Target.Digest})
		}
	}))
	defer hook.Close()
	r, err := registry.Start(hook.URL, "secret")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Stop()
	digest, _, err := r.Push(t.Context(), "demo/web", "v1")
	if err != nil {
		t.Fatal(err)
	}
	got, err := told.Await(t.Context(), 0, func(n notification) bool { return n.tag != "" })
	if want := (notification{"Bearer secret", "v1", digest}); err != nil || got != want {
		t.Errorf("told %+v (%v), want %+v", got, err, want)
	}
}
