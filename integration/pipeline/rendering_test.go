package pipeline

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"

	"github.com/plumb-gitops/plumb/integration/stack"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
)

// secrets makes a Secret.
func secrets(t *testing.T, s *stack.Stack, ns, name string, data map[string]any) {
	t.Helper()
	variables{}.create(t, s, ns, "Secret", name, data)
}

func lacks(text, word string) error {
	if !strings.Contains(text, word) {
		return fmt.Errorf("%q lacks %q", text, word)
	}
	return nil
}

const sopsFiles = "../../pkg/render/decrypt/testdata/"

func file(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	must(t, err)
	return string(text)
}

// What SOPS has encrypted is decrypted with the keys that the Application names, and
// never applied as it is.
func TestSecretsOfSOPSAreDecrypted(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "acme/config", map[string]string{"db/secret.yaml": file(t, sopsFiles+"encrypted/secret.yaml")})
	a := stack.Application(ns, "db", repo, "db")
	s.Create(t, a)
	tells(t, s.Failed(t, a.Key(), "RenderFailed"), "db/secret.yaml", "encrypted by SOPS", "spec.source.decryption")
	if _, err := s.Objects.Resource(stack.Secrets).Namespace(ns).Get(t.Context(), "db", metav1.GetOptions{}); err == nil {
		t.Error("the ciphertext was applied")
	}

	s.Patch(t, a.Key(), `{"spec":{"source":{"decryption":{"secretRef":{"name":"sops"}}}}}`)
	tells(t, s.Failed(t, a.Key(), "SourceRefused"), "spec.source.decryption", ns+"/sops", "create it")
	secrets(t, s, ns, "sops", map[string]any{"test.agekey": file(t, sopsFiles+"keys/test.agekey")})
	s.Patch(t, a.Key(), `{"metadata":{"annotations":{"plumb.dev/sync":"now"}}}`)
	s.Await(t, a.Key(), "live", stack.Ready)
	u, err := s.Objects.Resource(stack.Secrets).Namespace(ns).Get(t.Context(), "db", metav1.GetOptions{})
	must(t, err)
	password, _, _ := unstructured.NestedString(u.Object, "data", "password")
	plain, err := base64.StdEncoding.DecodeString(password)
	if want := "canary-5ecret"; err != nil || !strings.HasPrefix(string(plain), want) {
		t.Errorf("the password is %q (%v), want one that begins with %q", plain, err, want)
	}
	if strings.Contains(string(s.WholeLog(t)), "canary-5ecret") {
		t.Error("a secret value stands in the log")
	}
}

// Templates see the cluster's version and kinds and nothing of what is in it.
func TestChartsSeeTheClustersCapabilitiesAlone(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	variables{}.create(t, s, ns, "ConfigMap", "seen", map[string]any{"value": "x"})
	repo := s.Repo(t, "acme/config", chartFiles("web/", "web", map[string]string{
		"templates/cm.yaml": `apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data:
  version: {{ .Capabilities.KubeVersion.Version }}
  sets: {{ .Capabilities.APIVersions.Has "plumb.dev/v1alpha1/ApplicationSet" | quote }}
  widgets: {{ .Capabilities.APIVersions.Has "example.com/v1/Widget" | quote }}
  found: {{ len (lookup "v1" "ConfigMap" .Release.Namespace "seen") | quote }}
  host: {{ getHostByName "localhost" | quote }}
`,
	}))
	a := stack.Application(ns, "web", repo, "web")
	s.Create(t, a)
	client, err := kubernetes.NewForConfig(s.Kube.Config(t))
	must(t, err)
	version, err := client.Discovery().ServerVersion()
	must(t, err)
	s.Data(t, ns, "web", map[string]string{"version": version.GitVersion, "sets": "true", "widgets": "false", "found": "0", "host": ""})
}

// One object told twice has no right content.
func TestTwoDocumentsOfOneObjectAreRefused(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "acme/config", map[string]string{
		"web/a.yaml": stack.ConfigMap("web", "a"), "web/b.yaml": stack.ConfigMap("other", "x") + "---\n" + stack.ConfigMap("web", "b"),
	})
	a := stack.Application(ns, "web", repo, "web")
	s.Create(t, a)
	tells(t, s.Failed(t, a.Key(), "RenderFailed"), "web/a.yaml", "web/b.yaml", "web")
	if _, err := s.Objects.Resource(stack.ConfigMaps).Namespace(ns).Get(t.Context(), "other", metav1.GetOptions{}); err == nil {
		t.Error("a part of it was applied")
	}
	sha := s.Push(t, repo, map[string]string{"web/a.yaml": ""})
	s.Live(t, a.Key(), sha)
	s.Data(t, ns, "web", map[string]string{"value": "b"})
}

// Directories have globs, List and JSON.
func TestDirectoriesAreFiltered(t *testing.T) {
	s := stack.New(t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "acme/config", map[string]string{
		"web/list.yaml":       "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: one}}\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: two}}\n",
		"web/deep/three.json": `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"three"}}`,
		"web/deep/test.yaml":  "no: object\n", "web/notes.md": "x",
	})
	a := stack.Application(ns, "web", repo, "web")
	a.Spec.Source.Directory = &v1alpha1.DirectorySource{Recurse: true, Include: "**/*.{yaml,json}", Exclude: "test.yaml"}
	s.Create(t, a)
	s.Await(t, a.Key(), "live", stack.Ready)
	if owned := s.Owned(t, a.Key(), ns); len(owned) != 3 {
		t.Errorf("objects: %v", owned)
	}
}

// A second source that hangs is a matter of the Application that names it alone.
func TestASourceThatHangsHoldsUpNobody(t *testing.T) {
	s := stack.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	hole := hang(ctx, t)
	s.Work(t)
	ns := s.Kube.Namespace(t)
	repo := s.Repo(t, "acme/config", map[string]string{"web/cm.yaml": stack.ConfigMap("web", "one"), "made/cm.yaml": stack.ConfigMap("made", "one")})
	values := s.Repo(t, "acme/values", map[string]string{"v.yaml": "x: 1\n"})
	web, made := stack.Application(ns, "web", repo, "web"), stack.Application(ns, "made", repo, "made")
	made.Spec.Sources = named("values", values)
	s.Create(t, web)
	s.Create(t, made)
	s.Await(t, web.Key(), "live", stack.Ready)
	s.Await(t, made.Key(), "live", stack.Ready)
	s.Patch(t, made.Key(), `{"spec":{"sources":[{"name":"values","repo":"`+hole+`/values.git","ref":"main"}]}}`)
	for _, value := range []string{"two", "three"} {
		sha := s.Push(t, repo, map[string]string{"web/cm.yaml": stack.ConfigMap("web", value), "made/cm.yaml": stack.ConfigMap("made", value)})
		began := metav1.Now()
		s.Live(t, web.Key(), sha)
		if took := metav1.Now().Sub(began.Time); took.Seconds() > 4 {
			t.Errorf("the push of %s took %s", value, took)
		}
	}
	cancel()
	tells(t, s.Failed(t, made.Key(), "FetchFailed"), "spec.sources[values]")
}
