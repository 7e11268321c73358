package pipeline

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app"
)

// Three renderers, one repository: a push wakes those whose last render read
// what it changed, also outside of their path, and no other.
func TestAPushWakesOnlyWhatItTouches(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "three/"+ns, map[string]string{
		"yaml/cm.yaml":                    stack.ConfigMap("plain", "one"),
		"base/cm.yaml":                    stack.ConfigMap("based", "one"),
		"base/kustomization.yaml":         "resources: [cm.yaml]\n",
		"overlays/a/kustomization.yaml":   "resources: [../../base]\nnamePrefix: a-\n",
		"chart/Chart.yaml":                "apiVersion: v2\nname: chart\nversion: 1.0.0\n",
		"chart/values.yaml":               "value: one\n",
		"chart/templates/configmap.yaml":  "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: {{ .Release.Name }}}\ndata: {value: {{ .Values.value | quote }}}\n",
		"elsewhere/nobody-reads-this.txt": "one\n",
	})
	attempts := map[string]int64{}
	keys := map[string]app.Key{}
	for name, path := range map[string]string{"plain": "yaml", "overlay": "overlays/a", "chart": "chart"} {
		a := stack.Application(ns, name, repo, path)
		t.Cleanup(func() { s.Forget(a.Key()) })
		s.Create(t, a)
		keys[name] = a.Key()
		attempts[name] = s.Live(t, a.Key(), head(t, s, a.Key())).Status.LastAttempt.Number
	}
	s.Data(t, ns, "plain", map[string]string{"value": "one"})
	s.Data(t, ns, "a-based", map[string]string{"value": "one"})
	s.Data(t, ns, "chart", map[string]string{"value": "one"})

	pushes := []struct {
		sentence string
		files    map[string]string
		wakes    string
	}{
		{"a base outside the path", map[string]string{"base/cm.yaml": stack.ConfigMap("based", "two")}, "overlay"},
		{"a chart's values", map[string]string{"chart/values.yaml": "value: two\n"}, "chart"},
		{"a file in the path", map[string]string{"yaml/more.yaml": stack.ConfigMap("more", "two")}, "plain"},
		{"a file that no render read", map[string]string{"elsewhere/nobody-reads-this.txt": "two\n"}, ""},
	}
	for _, p := range pushes {
		t.Run(p.sentence, func(t *testing.T) {
			sha := s.Push(t, repo, p.files)
			routed := s.Routed(t, sha)
			var affected []string
			for _, a := range routed.GetAffected() {
				affected = append(affected, a.GetName())
			}
			var want []string
			if p.wakes != "" {
				want = []string{p.wakes}
				attempts[p.wakes] = s.Live(t, keys[p.wakes], sha).Status.LastAttempt.Number
			}
			if diff := cmp.Diff(want, affected); diff != "" || int(routed.GetUnaffected()) != 3-len(want) {
				t.Errorf("unaffected %d, affected (-want +got):\n%s", routed.GetUnaffected(), diff)
			}
			for name, key := range keys {
				if n := s.Get(t, key).Status.LastAttempt.Number; n != attempts[name] {
					t.Errorf("%s made attempt %d, was at %d", name, n, attempts[name])
				}
			}
		})
	}
	s.Data(t, ns, "a-based", map[string]string{"value": "two"})
	s.Data(t, ns, "chart", map[string]string{"value": "two"})
}
