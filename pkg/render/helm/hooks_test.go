package helm_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/plumb-gitops/plumb/pkg/render/helm"
)

// job is a chart with one object that has these annotations.
func job(annotations string) fstest.MapFS { return one("batch/v1", "Job", annotations) }

func one(version, kind, annotations string) fstest.MapFS {
	return fstest.MapFS{
		"chart/Chart.yaml":       {Data: []byte("apiVersion: v2\nname: a\nversion: 1.0.0\n")},
		"chart/templates/a.yaml": {Data: []byte("apiVersion: " + version + "\nkind: " + kind + "\nmetadata: {name: a, annotations: {" + annotations + "}}\n")},
	}
}

func TestHooksOfHelmAreOurs(t *testing.T) {
	type annotations map[string]any
	cases := map[string]struct {
		says string
		want annotations // of ours; nil: the object is left out
	}{
		"before an install is before a sync":          {`helm.sh/hook: pre-install`, annotations{"plumb.dev/hook": "pre-sync", "plumb.dev/hook-delete": "before"}},
		"an install and an upgrade are one sync":      {`helm.sh/hook: "pre-install, PRE-UPGRADE"`, annotations{"plumb.dev/hook": "pre-sync", "plumb.dev/hook-delete": "before"}},
		"after an upgrade is after a sync":            {`helm.sh/hook: post-upgrade`, annotations{"plumb.dev/hook": "post-sync", "plumb.dev/hook-delete": "before"}},
		"before a deletion":                           {`helm.sh/hook: pre-delete`, annotations{"plumb.dev/hook": "pre-delete", "plumb.dev/hook-delete": "before"}},
		"two phases are both named":                   {`helm.sh/hook: "post-install,pre-delete"`, annotations{"plumb.dev/hook": "post-sync,pre-delete", "plumb.dev/hook-delete": "before"}},
		"a rollback beside an upgrade is passed over": {`helm.sh/hook: "pre-rollback,pre-upgrade"`, annotations{"plumb.dev/hook": "pre-sync", "plumb.dev/hook-delete": "before"}},
		"a weight is a wave":                          {`helm.sh/hook: pre-install, helm.sh/hook-weight: "-5"`, annotations{"plumb.dev/hook": "pre-sync", "plumb.dev/hook-delete": "before", "plumb.dev/wave": "-5"}},
		"a weight beyond the last wave is the last":   {`helm.sh/hook: pre-install, helm.sh/hook-weight: "-1000000"`, annotations{"plumb.dev/hook": "pre-sync", "plumb.dev/hook-delete": "before", "plumb.dev/wave": "-10000"}},
		"a weight that is no number is none":          {`helm.sh/hook: pre-install, helm.sh/hook-weight: heavy`, annotations{"plumb.dev/hook": "pre-sync", "plumb.dev/hook-delete": "before"}},
		"a weight of no hook is no wave":              {`helm.sh/hook-weight: "-5"`, annotations{}},
		"policies of deletion are mapped": {
			`helm.sh/hook: pre-install, helm.sh/hook-delete-policy: "before-hook-creation, hook-succeeded,hook-failed"`,
			annotations{"plumb.dev/hook": "pre-sync", "plumb.dev/hook-delete": "before,succeeded,failed"},
		},
		"one policy of deletion replaces the default": {
			`helm.sh/hook: pre-install, helm.sh/hook-delete-policy: hook-succeeded`,
			annotations{"plumb.dev/hook": "pre-sync", "plumb.dev/hook-delete": "succeeded"},
		},
		"crd-install says nothing":              {`helm.sh/hook: crd-install`, annotations{}},
		"a test is left out":                    {`helm.sh/hook: test`, nil},
		"a test of Helm 2 is left out":          {`helm.sh/hook: "test-success,test-failure"`, nil},
		"what is after a deletion is left out":  {`helm.sh/hook: post-delete`, nil},
		"what is of a rollback is left out":     {`helm.sh/hook: "pre-rollback,post-rollback"`, nil},
		"an empty hook is left out, as by Helm": {`helm.sh/hook: ""`, nil},
		"keep is not to prune":                  {`helm.sh/resource-policy: keep`, annotations{"plumb.dev/prune": "disabled"}},
		"delete is nothing":                     {`helm.sh/resource-policy: delete`, annotations{}},
		"what the chart says in our words stays": {
			`helm.sh/hook: pre-install, helm.sh/hook-weight: "3", helm.sh/resource-policy: keep, plumb.dev/hook: sync-fail, plumb.dev/wave: "1", plumb.dev/prune: confirm, plumb.dev/hook-delete: failed`,
			annotations{"plumb.dev/hook": "sync-fail", "plumb.dev/wave": "1", "plumb.dev/prune": "confirm", "plumb.dev/hook-delete": "failed"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			rendered, err := helm.Template(job(c.says), helm.Params{Path: "chart", ReleaseName: "rel"})
			if err != nil {
				t.Fatal(err)
			}
			var got annotations
			for _, content := range contents(t, rendered) {
				got = annotations{}
				said := content.(map[string]any)["metadata"].(map[string]any)["annotations"].(map[string]any)
				for key, value := range said {
					if len(key) > 10 && key[:10] == "plumb.dev/" {
						got[key] = value
					}
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
}

func TestHooksThatHoldDataAreOrdinary(t *testing.T) {
	for _, kind := range []struct{ version, kind string }{
		{"v1", "Namespace"}, {"v1", "PersistentVolumeClaim"}, {"apiextensions.k8s.io/v1", "CustomResourceDefinition"},
	} {
		t.Run(kind.kind, func(t *testing.T) {
			rendered, err := helm.Template(one(kind.version, kind.kind, `helm.sh/hook: pre-install, helm.sh/hook-weight: "-1"`), helm.Params{Path: "chart", ReleaseName: "rel"})
			if err != nil {
				t.Fatal(err)
			}
			if len(rendered) != 1 || strings.Contains(string(rendered[0].Content), "plumb.dev/") {
				t.Errorf("got %s, want one object without an annotation of ours", rendered)
			}
		})
	}
}
