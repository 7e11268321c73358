package argocd_test

import (
	"testing"

	"github.com/plumb-gitops/plumb/pkg/moving/argocd"
	"github.com/plumb-gitops/plumb/pkg/moving/movingtest"
)

func TestConvert(t *testing.T) { movingtest.Golden(t, argocd.Convert) }

func TestNoFieldIsDroppedInSilence(t *testing.T) { movingtest.Complete(t, argocd.Convert) }

func TestOrderDoesNotMatter(t *testing.T) { movingtest.AnyOrder(t, argocd.Convert) }

func TestSecretsStayWhereTheyAre(t *testing.T) { movingtest.Discreet(t, argocd.Convert) }

func FuzzConvert(f *testing.F) { movingtest.Fuzz(f, argocd.Convert) }
