package main

import (
	"fmt"
	"strconv"
	"sync"

	"github.com/plumb-gitops/plumb/pkg/route"
	"github.com/plumb-gitops/plumb/pkg/tree"
)

// The repository that all Applications are made of, and the ref that they follow.
const (
	repoName = "git.example.com/acme/config"
	refName  = "refs/heads/main"
)

// repo is the history of one repository. Each Application reads its own directory, the
// values of its cluster and the defaults of all: apps/<cluster>/<name>,
// apps/<cluster>/values.yaml and base.
type repo struct {
	mu    sync.Mutex
	count int // commits
	base  int // the commit that changed the defaults last
	parts map[string]*part
	head  route.Commit
}

// part is what a repository has of one cluster; a commit leaves it as it is or makes it
// anew, as Git does with the trees of directories.
type part struct {
	values int
	apps   map[string]int // the commit that changed each last
	tree   *tree.Memory
}

// change is what a commit touches: the defaults, the values of clusters, or single
// Applications by cluster.
type change struct {
	base     bool
	clusters []string
	apps     map[string][]string
}

// newRepo is a repository with a first commit that has all clusters' Applications.
func newRepo(clusters []*cluster) (*repo, error) {
	r := &repo{parts: map[string]*part{}}
	all := change{base: true}
	for _, c := range clusters {
		p := &part{apps: map[string]int{}}
		for _, key := range c.keys {
			p.apps[key.Name] = 0
		}
		r.parts[c.name] = p
		all.clusters = append(all.clusters, c.name)
	}
	_, err := r.commit(all)
	return r, err
}

// commit makes a commit the newest and returns its SHA.
func (r *repo) commit(c change) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	if c.base {
		r.base = r.count
	}
	touched := map[string]bool{}
	for _, name := range c.clusters {
		r.parts[name].values, touched[name] = r.count, true
	}
	for name, apps := range c.apps {
		for _, a := range apps {
			r.parts[name].apps[a] = r.count
		}
		touched[name] = true
	}
	for name := range touched {
		if err := r.parts[name].grow(); err != nil {
			return "", fmt.Errorf("make the tree of %s: %w", name, err)
		}
	}
	whole, err := r.whole()
	if err != nil {
		return "", fmt.Errorf("make the tree of commit %d: %w", r.count, err)
	}
	r.head = route.Commit{SHA: fmt.Sprintf("%040x", r.count), Tree: whole}
	return r.head.SHA, nil
}

func (p *part) grow() (err error) {
	files := map[string]tree.File{"values.yaml": content(p.values)}
	for name, changed := range p.apps {
		files[name+"/app.yaml"] = content(changed)
	}
	p.tree, err = tree.FromFiles(files)
	return err
}

func content(commit int) tree.File { return tree.File{Data: []byte(strconv.Itoa(commit))} }

func (r *repo) whole() (tree.Tree, error) {
	base, err := tree.FromFiles(map[string]tree.File{"base/defaults.yaml": content(r.base)})
	if err != nil {
		return nil, err
	}
	at := map[string]tree.Tree{}
	for name, p := range r.parts {
		at["apps/"+name] = p.tree
	}
	return tree.Mount(base, at)
}

// newest is the commit that the ref leads to.
func (r *repo) newest() route.Commit {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.head
}
