// Package render turns a source tree into an ordered set of Kubernetes objects.
//
// It is pure: the same tree and the same parameters give the same objects. Nothing
// of the repository runs and nothing of the network is read. YAML directories are
// rendered in process under limits; kustomize, Helm and Jsonnet run in the processes
// of render/child. Files encrypted by SOPS are decrypted where they are read, whatever
// reads them, and variables are replaced in what was rendered. It may import
// app/v1alpha1, object, tree, fault and its own sub-packages; never git, whose Tree it
// takes as an interface.
//
// What is wrong with the source is a permanent fault with reason RenderFailed that
// names the place. A killed child is a transient fault once; the second time, with
// the same tree, a permanent one.
package render

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/fault"
	"github.com/plumb-gitops/plumb/pkg/object"
	"github.com/plumb-gitops/plumb/pkg/render/child"
	"github.com/plumb-gitops/plumb/pkg/render/decrypt"
	"github.com/plumb-gitops/plumb/pkg/render/substitute"
)

// Tree is the source tree from its root on. When it also is an fs.ReadLinkFS, its
// symlinks are followed here and refused when they leave the tree; otherwise it must
// show none. When it has Hash(path) (string, bool), as Git trees have, a tree that
// killed its child twice is remembered by it.
type Tree interface {
	fs.ReadDirFS
	fs.ReadFileFS
	fs.StatFS
}

// Capabilities is what templates may know about the cluster. Empty: those of the
// Kubernetes version Plumb is built with.
type Capabilities struct {
	KubeVersion string   // v1.37.2
	APIVersions []string // <group>/<version> and <group>/<version>/<Kind>
}

// Request is one source to render, for the Application Namespace/Name. Objects that
// name no namespace keep naming none; Namespace is what Helm calls the release's.
type Request struct {
	Tree            Tree
	Source          v1alpha1.Source
	Name, Namespace string
	Capabilities    Capabilities
	// Variables are what spec.source.substitute names, already read and merged.
	Variables substitute.Variables
	// Keys are those of spec.source.decryption.
	Keys decrypt.Keys
	// ChartPath is where the tree holds the chart of Source.Helm.Chart; empty: the
	// chart is the one at Source.Path. Value files are relative to Source.Path.
	ChartPath string
	// Aside surrounds a wait for a render child, so that the caller's place can serve
	// others meanwhile; nil: it is only waited.
	Aside func(wait func() error) error
}

// Names of the renderers, in Result.Renderer.
const (
	Directory = "directory"
	Kustomize = "kustomize"
	Helm      = "helm"
	Jsonnet   = "jsonnet"
)

// Result is what a render gave and what it depends on.
type Result struct {
	Objects object.Set
	// Outside are the paths outside the source path that the render read, listed or
	// looked for in vain: sorted, none below another. It is set on errors too.
	Outside  []string
	Renderer string
	// Secrets are the values of secret variables and of encrypted files: they may stand
	// in objects of any kind, and nobody may tell them.
	Secrets []string
}

// Limits bound what one render may read and give. Zero fields take the defaults.
type Limits struct {
	FileBytes  int64 // of one file; 10 MiB
	TotalBytes int64 // of all files read; 64 MiB
	Files      int   // files, directories and lookups; 50,000
	Objects    int   // 5,000
}

// Options are tunables; the zero value is useful.
type Options struct {
	Limits   Limits
	Children child.Options
}

// Renderer renders sources, several at a time.
type Renderer struct {
	limits   Limits
	children *child.Pool
	slots    chan struct{} // bounds renders in process
}

// New returns a Renderer. It starts no process before one is needed.
func New(o Options) *Renderer {
	l := o.Limits
	fill(&l.FileBytes, 10<<20)
	fill(&l.TotalBytes, 64<<20)
	fill(&l.Files, 50_000)
	fill(&l.Objects, 5_000)
	o.Children.MaxObjects = l.Objects
	return &Renderer{
		limits:   l,
		children: child.NewPool(o.Children),
		slots:    make(chan struct{}, runtime.GOMAXPROCS(0)),
	}
}

func fill[T int | int64](v *T, otherwise T) {
	if *v <= 0 {
		*v = otherwise
	}
}

// Close ends the children. Renders under way fail.
func (r *Renderer) Close() { r.children.Close() }

// Render gives the objects of the source. On errors the Result still says which
// paths were read, so that a change of one of them is seen.
func (r *Renderer) Render(ctx context.Context, q Request) (Result, error) {
	v := newView(q.Tree, r.limits)
	v.keys = q.Keys
	result, err := r.render(ctx, q, v)
	result.Outside = v.Outside()
	if v.refusal != nil && ctx.Err() == nil {
		err = v.refusal // whatever was made of it
	}
	result.Secrets = append(v.secrets, q.Variables.Secrets()...)
	if err != nil {
		result.Objects = object.Set{}
		return result, fault.As(fault.RenderFailed, mask(err, result.Secrets))
	}
	return result, nil
}

func (r *Renderer) render(ctx context.Context, q Request, v *view) (Result, error) {
	if err := checkSource(q); err != nil {
		return Result{}, err
	}
	root, err := v.enter(q.Source.Path)
	if err != nil {
		return Result{}, err
	}
	renderer, err := detect(v, root, q.Source)
	if err != nil {
		return Result{}, err
	}
	result := Result{Renderer: renderer}
	objects, err := r.run(ctx, q, v, root, renderer)
	if err != nil {
		return result, err
	}
	if objects, err = finish(objects, q); err != nil {
		return result, err
	}
	if len(objects) == 0 {
		return result, refuse(fault.Place{File: root}, "the render gives no object; an empty source is never applied, delete the Application instead")
	}
	result.Objects, err = object.NewSet(objects)
	return result, err
}

func (r *Renderer) run(ctx context.Context, q Request, v *view, root, renderer string) ([]object.Object, error) {
	if renderer == Directory {
		return r.directory(ctx, v, root, q.Source.Directory)
	}
	job := jobOf(q, root, renderer)
	key, err := poisonKey(q, job)
	if err != nil {
		return nil, err
	}
	items, err := r.children.Render(ctx, job, v, child.Origin{
		Key: key, Source: fmt.Sprintf("%s/%s %s %s", q.Namespace, q.Name, q.Source.Repo, q.Source.Path), Aside: q.Aside,
	})
	if err != nil {
		return nil, located(root, err)
	}
	objects := make([]object.Object, 0, len(items))
	for _, item := range items {
		o, err := item.Object()
		if err != nil {
			return nil, err
		}
		objects = append(objects, o)
	}
	return objects, nil
}

// located names the source of a child that died: it says no place itself.
func located(root string, err error) error {
	var f *fault.Error
	if !child.Died(err) || !errors.As(err, &f) || f.Place != (fault.Place{}) {
		return err
	}
	return &fault.Error{Class: f.Class, Reason: f.Reason, After: f.After, Place: fault.Place{File: root}, Err: f.Err}
}

func refuse(place fault.Place, format string, args ...any) error {
	return fault.Refuse(fault.RenderFailed, place, format, args...)
}

// detect says which renderer the source is for: the one it gives, else the one
// whose file stands in the path.
func detect(v *view, root string, s v1alpha1.Source) (string, error) {
	switch {
	case s.Directory != nil:
		return Directory, nil
	case s.Kustomize != nil:
		return Kustomize, nil
	case s.Helm != nil:
		return Helm, nil
	case s.Jsonnet != nil:
		return Jsonnet, nil
	}
	for _, m := range []struct{ file, renderer string }{
		{"Chart.yaml", Helm},
		{"kustomization.yaml", Kustomize}, {"kustomization.yml", Kustomize}, {"Kustomization", Kustomize},
	} {
		_, err := v.Stat(path.Join(root, m.file))
		if err == nil {
			return m.renderer, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("look for %s: %w", m.file, err)
		}
	}
	return detectJsonnet(v, root)
}

// detectJsonnet knows a directory of Jsonnet by its main.jsonnet. With YAML beside it
// there are two answers, and a wrong one would prune.
func detectJsonnet(v *view, root string) (string, error) {
	_, err := v.Stat(path.Join(root, mainJsonnet))
	if errors.Is(err, fs.ErrNotExist) {
		return Directory, nil
	}
	if err != nil {
		return "", fmt.Errorf("look for %s: %w", mainJsonnet, err)
	}
	entries, err := v.ReadDir(root)
	if err != nil {
		return "", fmt.Errorf("list directory: %w", err)
	}
	for _, e := range entries {
		if ext := path.Ext(e.Name()); ext == ".yaml" || ext == ".yml" {
			return "", refuse(fault.Place{File: root}, "the directory holds %s and YAML files such as %s; say with spec.source.jsonnet or spec.source.directory which are meant", mainJsonnet, e.Name())
		}
	}
	return Jsonnet, nil
}

const mainJsonnet = "main.jsonnet"

// checkSource repeats what the CRD refuses, since plumb render reads files that no
// API server has checked.
func checkSource(q Request) error {
	s := q.Source
	if s.Decryption != nil && !q.Keys.Given() {
		return refuse(fault.Place{Field: "spec.source.decryption"}, "its keys were not read; give the Secret that it names")
	}
	if s.Helm != nil && s.Helm.Chart != "" && q.ChartPath == "" {
		return refuse(fault.Place{Field: "spec.source.helm.chart"}, "the chart was not fetched; give a tree that holds it")
	}
	given := 0
	for _, set := range []bool{s.Directory != nil, s.Kustomize != nil, s.Helm != nil, s.Jsonnet != nil} {
		if set {
			given++
		}
	}
	if given > 1 {
		return refuse(fault.Place{Field: "spec.source"}, "give one of directory, kustomize, helm and jsonnet")
	}
	return nil
}
