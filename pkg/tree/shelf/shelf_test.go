package shelf_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plumb-gitops/plumb/pkg/tree"
	"github.com/plumb-gitops/plumb/pkg/tree/shelf"
)

func item(t *testing.T, name string, weight int64) shelf.Item {
	m, err := tree.FromFiles(map[string]tree.File{name: {}})
	if err != nil {
		t.Fatal(err)
	}
	return shelf.Item{Tree: m, Weight: weight}
}

func TestWhatWasWantedLastStays(t *testing.T) {
	s := shelf.New(10, time.Minute)
	made := map[string]int{}
	get := func(key string, weight int64) {
		t.Helper()
		got, err := s.Get(t.Context(), key, func(context.Context) (shelf.Item, error) {
			made[key]++
			return item(t, key, weight), nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := got.Stat(key); err != nil {
			t.Error(err)
		}
	}
	for _, step := range []struct {
		key    string
		weight int64
		made   int
	}{
		{"a", 4, 1}, {"b", 4, 1}, {"a", 4, 1}, {"c", 4, 1}, // b goes
		{"a", 4, 1}, {"b", 4, 2}, // c goes
		{"large", 11, 1}, {"large", 11, 2}, {"a", 4, 1},
	} {
		if get(step.key, step.weight); made[step.key] != step.made {
			t.Errorf("%s was made %d times, want %d", step.key, made[step.key], step.made)
		}
	}
}

func TestCallersShareOneMaking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := shelf.New(10, time.Minute)
		var made atomic.Int32
		release := make(chan struct{})
		slow := func(ctx context.Context) (shelf.Item, error) {
			made.Add(1)
			<-release
			return item(t, "x", 1), ctx.Err()
		}
		ctx, leave := context.WithCancel(t.Context())
		var wait sync.WaitGroup
		wait.Go(func() {
			if _, err := s.Get(ctx, "x", slow); !errors.Is(err, context.Canceled) {
				t.Errorf("who left got %v", err)
			}
		})
		synctest.Wait()
		for range 3 {
			wait.Go(func() {
				if _, err := s.Get(t.Context(), "x", slow); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		close(release)
		wait.Wait()
		if made.Load() != 1 {
			t.Errorf("made %d times", made.Load())
		}
	})
}

func TestAMakingThatFailsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := shelf.New(10, time.Second)
		for want, make := range map[string]func(context.Context) (shelf.Item, error){
			"no":       func(context.Context) (shelf.Item, error) { return shelf.Item{}, fmt.Errorf("no") },
			"panicked": func(context.Context) (shelf.Item, error) { panic("boom") },
			"deadline": func(ctx context.Context) (shelf.Item, error) { <-ctx.Done(); return shelf.Item{}, ctx.Err() },
		} {
			if _, err := s.Get(t.Context(), "x", make); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v, want %q", err, want)
			}
		}
		if _, err := s.Get(t.Context(), "x", func(context.Context) (shelf.Item, error) { return item(t, "x", 1), nil }); err != nil {
			t.Error(err)
		}
	})
}
