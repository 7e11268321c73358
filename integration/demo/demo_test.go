package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"sigs.k8s.io/yaml"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/config"
	"github.com/plumb-gitops/plumb/pkg/event"
	eventsv1 "github.com/plumb-gitops/plumb/proto/plumb/events/v1"
)

const ms = time.Millisecond

func TestTheConfigurationIsWhatPlumbReads(t *testing.T) {
	o := options{dir: t.TempDir(), bin: "/bin"}
	kubeconfig := filepath.Join(o.dir, "kube config")
	if err := os.WriteFile(kubeconfig, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := preparePlumb(o, kubeconfig, "http://127.0.0.1:1234", "http://127.0.0.1:99/services/x")
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(p.config)
	if err != nil {
		t.Fatal(err)
	}
	if c.Kubernetes.Kubeconfig != kubeconfig || len(c.Receiver.Hooks) != 2 || len(c.Alerter.Routes) != 1 || c.Cluster != clusterName {
		t.Errorf("configuration: %+v", c)
	}
	for _, address := range []string{c.Admin.Listen, c.Receiver.Listen, c.Dashboard.Listen} {
		if !strings.HasPrefix(address, "127.0.0.1:") {
			t.Errorf("%s is not on loopback", address)
		}
	}
	info, err := os.Stat(c.Receiver.Hooks[0].SecretFile)
	if err != nil || info.Mode().Perm() != 0o600 || p.gitSecret == p.registrySecret {
		t.Errorf("secret file %v, error %v", info, err)
	}
}

func TestTheApplicationsAreOfTheAPI(t *testing.T) {
	for _, name := range names {
		text, err := files.ReadFile("files/applications/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		a := &v1alpha1.Application{}
		if err := yaml.UnmarshalStrict(text, a); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if a.Name != name || a.Namespace != home || a.Spec.Destination.Namespace != target(name) || a.Spec.Source.Repo != "REPO" {
			t.Errorf("%s: %+v", name, a)
		}
		content, err := tree()
		if err != nil {
			t.Fatal(err)
		}
		inside := 0
		for file := range content {
			if strings.HasPrefix(file, a.Spec.Source.Path+"/") {
				inside++
			}
		}
		if inside == 0 {
			t.Errorf("%s: nothing is at %s", name, a.Spec.Source.Path)
		}
	}
}

func TestDeploymentOf(t *testing.T) {
	for _, n := range []int{2, 3} {
		if got := deploymentOf(n); strings.Count(got, "replicas: ") != 1 || !strings.Contains(got, "replicas: "+string(rune('0'+n))+"\n") {
			t.Errorf("%d replicas:\n%s", n, got)
		}
	}
}

func TestCourseOfAPush(t *testing.T) {
	at := time.Unix(1000, 0)
	told := map[event.Type]time.Time{
		event.GitPush: at.Add(2 * ms), event.GitRouted: at.Add(20 * ms), event.SyncStarted: at.Add(40 * ms),
	}
	stages := []*eventsv1.Stage{of("queue", 3*ms), of("render", 7*ms), of("apply", 11*ms), of("health", 70*ms)}
	want := course{{"webhook", 2 * ms}, {"route", 18 * ms}, {"queue", 3 * ms}, {"render", 7 * ms}, {"claim", 10 * ms}, {"apply", 11 * ms}, {"health", 70 * ms}}
	got := courseOf(at, told, stages)
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(stage{})); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	second := course{{"webhook", 4 * ms}, {"render", 50 * time.Microsecond}}
	if got, want := describe([]course{second, {{"webhook", 2 * ms}, {"render", 0}, {"apply", 1500 * ms}}}), "webhook 3.0 ms → apply 1.50 s"; got != want {
		t.Errorf("described as %q, want %q", got, want)
	}
	if got := describe(nil); got != "not told" {
		t.Errorf("nothing is described as %q", got)
	}
}

func of(name string, took time.Duration) *eventsv1.Stage {
	return &eventsv1.Stage{Name: name, Duration: durationpb.New(took)}
}

func TestDriftIsToldOnALine(t *testing.T) {
	for want, o := range map[string]*eventsv1.DriftedObject{
		"deleted": {Kind: "deleted"},
		"changed, spec.replicas was 3, found 9, by kubectl-scale": {
			Kind: "changed", Manager: "kubectl-scale", Fields: []*eventsv1.FieldChange{{Path: "spec.replicas", Before: "3", After: "9"}},
		},
	} {
		if got := drifted(o); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestFlags(t *testing.T) {
	for sentence, c := range map[string]struct {
		args []string
		want options
		fail bool
	}{
		"all":           {args: []string{"--once", "--dir", "d", "--bin", "b"}, want: options{once: true, dir: "d", bin: "b"}},
		"an argument":   {args: []string{"x"}, fail: true},
		"no known flag": {args: []string{"--twice"}, fail: true},
	} {
		t.Run(sentence, func(t *testing.T) {
			got, err := parse(c.args, io.Discard)
			if (err != nil) != c.fail {
				t.Fatalf("error %v", err)
			}
			if err == nil && got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestTheDirectoryOfAllFiles(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := prepareDir(&options{dir: full}); err == nil || !strings.Contains(err.Error(), "is not empty") {
		t.Errorf("a directory in use: %v", err)
	}
	own := options{}
	remove, err := prepareDir(&own)
	if err != nil {
		t.Fatal(err)
	}
	remove()
	if _, err := os.Stat(own.dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", own.dir, err)
	}
	kept := options{dir: filepath.Join(t.TempDir(), "new")}
	if remove, err = prepareDir(&kept); err != nil {
		t.Fatal(err)
	}
	remove()
	if _, err := os.Stat(kept.dir); err != nil {
		t.Errorf("a named directory is gone: %v", err)
	}
}
