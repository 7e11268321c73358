package argocd

import (
	"strings"

	"github.com/plumb-gitops/plumb/pkg/app/v1alpha1"
	"github.com/plumb-gitops/plumb/pkg/moving"
)

// policy is spec.syncPolicy.
func (s *spec) policy(a *v1alpha1.Application) {
	at := s.at.At("syncPolicy")
	s.automated(at.At("automated"), a)
	for _, option := range at.At("syncOptions").Each() {
		s.option(option, a)
	}
	s.retry(at.At("retry"), a)
	at.At("managedNamespaceMetadata").Tell(moving.Lost, "has no counterpart: put the Namespace with its labels and annotations into Git, and leave out destination.createNamespace")
}

func (s *spec) automated(at moving.Field, a *v1alpha1.Application) {
	enabled := at.Given()
	if f := at.At("enabled"); f.Given() && !f.Bool() {
		enabled = false
		f.Tell(moving.Info, "became sync.mode: manual")
	} else {
		f.Tell(moving.Info, "is the default")
	}
	if !enabled || !s.c.o.Auto {
		a.Spec.Sync.Mode = v1alpha1.ModeManual
	}
	prune, heal := at.At("prune"), at.At("selfHeal")
	a.Spec.Sync.Drift = v1alpha1.DriftWarn
	if heal.Bool() && enabled {
		a.Spec.Sync.Drift = ""
		heal.Tell(moving.Info, "became sync.drift: heal, the default")
	} else {
		heal.Tell(moving.Info, "became sync.drift: warn")
	}
	if !prune.Bool() || !enabled {
		a.Spec.Sync.Prune = new(bool)
		prune.Tell(moving.Info, "became sync.prune: false")
	} else {
		prune.Tell(moving.Info, "became sync.prune: true, the default, and sync.pruneLimit guards it")
	}
	switch empty := at.At("allowEmpty"); {
	case empty.Bool():
		empty.Tell(moving.Lost, "an empty render is always an error; delete the Application instead")
	default:
		empty.Tell(moving.Info, "an empty render is always an error")
	}
	s.tellMode(at, enabled)
}

func (s *spec) tellMode(at moving.Field, enabled bool) {
	switch {
	case !enabled:
		s.in.Tell(moving.Info, "is synced by hand in Argo CD: sync.mode is manual, sync.drift warn and sync.prune false; set sync.prune to have a sync delete what left Git")
	case !s.c.o.Auto:
		s.in.Tell(moving.Info, "is automated in Argo CD and made with sync.mode: manual; take that line away once plumb diff shows no changes, or import with --auto")
	}
	at.Names() // none is read, too
}

// options say what became of a sync option; those that do something are in option.
var options = map[string]struct {
	level moving.Level
	text  string
}{
	"CreateNamespace=false":                {moving.Info, "is the default"},
	"ServerSideApply=true":                 {moving.Info, "Plumb always applies on the server's side"},
	"ServerSideApply=false":                {moving.Lost, "Plumb always applies on the server's side"},
	"PruneLast=true":                       {moving.Info, "Plumb always prunes after all else was applied"},
	"PruneLast=false":                      {moving.Info, "Plumb always prunes after all else was applied"},
	"Prune=true":                           {moving.Info, "is the default"},
	"Prune=confirm":                        {moving.Lost, "sync.pruneLimit asks for a confirmation of many deletions; for single objects annotate them with plumb.dev/prune: confirm"},
	"Delete=true":                          {moving.Info, "is the default"},
	"Delete=confirm":                       {moving.Lost, "has no counterpart; deletionPolicy: orphan keeps the objects"},
	"Replace=true":                         {moving.Lost, "annotate the objects that have to be made anew with plumb.dev/replace: allowed"},
	"Force=true":                           {moving.Lost, "annotate the objects that have to be made anew with plumb.dev/replace: allowed"},
	"Replace=false":                        {moving.Info, "is the default"},
	"Force=false":                          {moving.Info, "is the default"},
	"ApplyOutOfSyncOnly=true":              {moving.Info, "Plumb always sends only what changed"},
	"ApplyOutOfSyncOnly=false":             {moving.Info, "Plumb always sends only what changed"},
	"RespectIgnoreDifferences=true":        {moving.Info, "spec.ignore always holds for syncs too"},
	"FailOnSharedResource=true":            {moving.Info, "an object of another Application is always refused (OwnershipConflict)"},
	"FailOnSharedResource=false":           {moving.Lost, "an object of another Application is always refused (OwnershipConflict)"},
	"Validate=true":                        {moving.Info, "objects are always validated"},
	"Validate=false":                       {moving.Lost, "objects are always validated, by the cluster's schema"},
	"SkipDryRunOnMissingResource=true":     {moving.Info, "CustomResourceDefinitions are applied before what needs them"},
	"SkipDryRunOnMissingResource=false":    {moving.Info, "is the default"},
	"RespectIgnoreDifferences=false":       {moving.Lost, "spec.ignore always holds for syncs too"},
	"ClientSideApplyMigration=true":        {moving.Info, "Plumb takes over what kubectl and Argo CD owned"},
	"ClientSideApplyMigration=false":       {moving.Lost, "Plumb takes over what kubectl and Argo CD owned"},
	"PrunePropagationPolicy=background":    {moving.Info, "is the default"},
	"DisableClientSideApplyMigration=true": {moving.Lost, "Plumb takes over what kubectl and Argo CD owned"},
}

func (s *spec) option(f moving.Field, a *v1alpha1.Application) {
	name, value, _ := strings.Cut(f.Text(), "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	switch name + "=" + value {
	case "CreateNamespace=true":
		a.Spec.Destination.CreateNamespace = true
		return
	case "Prune=false":
		a.Spec.Sync.Prune = new(bool)
		f.Tell(moving.Info, "became sync.prune: false")
		return
	case "Delete=false":
		a.Spec.DeletionPolicy = v1alpha1.DeletionOrphan
		f.Tell(moving.Info, "became deletionPolicy: orphan")
		return
	case "PrunePropagationPolicy=foreground", "PrunePropagationPolicy=orphan":
		a.Spec.Sync.PrunePropagation = v1alpha1.Propagation(value)
		return
	}
	if known, is := options[name+"="+value]; is {
		f.Tell(known.level, "%s: %s", name+"="+value, known.text)
		return
	}
	f.Tell(moving.Lost, "%s is not known", name)
}

func (s *spec) retry(at moving.Field, a *v1alpha1.Application) {
	if !at.Given() {
		return
	}
	p := &v1alpha1.RetryPolicy{}
	if f := at.At("limit"); f.Given() {
		limit := f.Int()
		if limit < 0 || limit > 100 {
			f.Tell(moving.Lost, "became 100, the most that there are; a newer revision always gets its own")
			limit = 100
		}
		count := int32(limit)
		p.Limit = &count
	}
	backoff := at.At("backoff")
	p.Base, p.Max = backoff.At("duration").Duration(), backoff.At("maxDuration").Duration()
	if p.Base != nil && p.Max != nil && p.Base.Duration > p.Max.Duration {
		p.Max = p.Base
		backoff.At("maxDuration").Tell(moving.Info, "became %s, as long as the first wait", p.Base.Duration)
	}
	if f := backoff.At("factor"); f.Int() == 2 {
		f.Tell(moving.Info, "each wait doubles")
	} else {
		f.Tell(moving.Lost, "each wait doubles")
	}
	at.At("refresh").Tell(moving.Info, "a newer revision always ends the retries of an older one")
	if *p != (v1alpha1.RetryPolicy{}) {
		a.Spec.Sync.Retry = p
	}
}
