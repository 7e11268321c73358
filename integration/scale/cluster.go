package main

import (
	"errors"
	"fmt"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/plumb-gitops/plumb/pkg/app"
	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/route"
)

// perNamespace is how many Applications share a namespace.
const perNamespace = 25

// cluster holds the Applications of one cluster, as its API server would. Applications
// are never changed: a write puts another in their place.
type cluster struct {
	name string
	keys []app.Key

	mu           sync.Mutex
	applications map[app.Key]*v1alpha1.Application
}

func newCluster(number, applications int) *cluster {
	c := &cluster{name: fmt.Sprintf("cluster-%03d", number), applications: map[app.Key]*v1alpha1.Application{}}
	for i := range applications {
		a := &v1alpha1.Application{}
		a.Namespace, a.Name = fmt.Sprintf("team-%02d", i/perNamespace), fmt.Sprintf("app-%03d", i)
		a.UID = types.UID(c.name + "/" + a.Name)
		a.Spec.Source.Repo, a.Spec.Source.Ref = "https://"+repoName, "main"
		a.Spec.Source.Path = "apps/" + c.name + "/" + a.Name
		c.keys = append(c.keys, a.Key())
		c.applications[a.Key()] = a
	}
	return c
}

// outside are the paths that an Application reads beside its own.
func (c *cluster) outside() []string { return []string{"apps/" + c.name + "/values.yaml", "base"} }

// all are the Applications, in the order of their names.
func (c *cluster) all() []*v1alpha1.Application {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := make([]*v1alpha1.Application, len(c.keys))
	for i, key := range c.keys {
		list[i] = c.applications[key]
	}
	return list
}

func (c *cluster) get(key app.Key) *v1alpha1.Application {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.applications[key]
}

// errConflict is the API server's answer to a write of what changed since it was read.
var errConflict = errors.New("the Application changed meanwhile")

// apply stores that an Application was brought to a commit.
func (c *cluster) apply(seen *v1alpha1.Application, commit route.Commit, reason string) (*v1alpha1.Application, error) {
	digest, err := commit.Tree.Digest(seen.Spec.Source.Path, c.outside())
	if err != nil {
		return nil, fmt.Errorf("digest %s: %w", seen.Spec.Source.Path, err)
	}
	a := seen.DeepCopy()
	number := int64(1)
	if last := seen.Status.LastAttempt; last != nil {
		number = last.Number + 1
	}
	a.Status.Revision = commit.SHA
	a.Status.Inputs = &v1alpha1.Inputs{Digest: digest, Outside: c.outside()}
	a.Status.LastAttempt = &v1alpha1.LastAttempt{Number: number, Reason: reason, Revision: commit.SHA, Result: v1alpha1.ResultSucceeded, Message: "1 updated, 3 unchanged"}
	a.Status.Resources = &v1alpha1.Resources{Total: 4, Healthy: 4}
	a.Status.Conditions = []metav1.Condition{
		{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: "Succeeded", Message: "1 updated, 3 unchanged"},
		{Type: v1alpha1.ConditionSynced, Status: metav1.ConditionTrue, Reason: "Succeeded"},
		{Type: v1alpha1.ConditionHealthy, Status: metav1.ConditionTrue, Reason: "Succeeded"},
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.applications[seen.Key()] != seen {
		return nil, errConflict
	}
	c.applications[a.Key()] = a
	return a, nil
}
