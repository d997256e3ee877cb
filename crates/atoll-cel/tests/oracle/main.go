// Command oracle answers expressions as Kubernetes 1.36 does: it reads lines of JSON ({"expr": …, "obj": …, "self": …, "schema": …}, or "on": "case" for what
// ../upstream-case.json holds) and writes each with the type, the estimated cost, the value or the error, and the actual cost.
//
//	go run . < ../upstream.jsonl > recorded.jsonl        # record again
//	go run . functions                                   # every function and overload of the environment
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strconv"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/checker"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"k8s.io/apimachinery/pkg/util/version"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/common"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/apiserver/pkg/cel/library"
	"k8s.io/apiserver/pkg/cel/openapi"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

// question is a line in, answer a line out.
type question struct {
	Expr   string          `json:"expr"`
	On     string          `json:"on,omitempty"`
	Obj    json.RawMessage `json:"obj,omitempty"`
	Self   json.RawMessage `json:"self,omitempty"`
	Schema json.RawMessage `json:"schema,omitempty"`
}

type answer struct {
	question
	CompileError string `json:"compileError,omitempty"`
	Output       string `json:"output,omitempty"`
	Min          string `json:"Min,omitempty"`
	Max          string `json:"Max,omitempty"`
	Value        any    `json:"value,omitempty"`
	Error        string `json:"error,omitempty"`
	Cost         uint64 `json:"cost,omitempty"`
}

// sizes finds declared sizes as the estimator of CustomResourceDefinitions does: it takes the first step of a path for the root.
type sizes struct{ root *apiservercel.DeclType }

func (s *sizes) EstimateSize(node checker.AstNode) *checker.SizeEstimate {
	if len(node.Path()) == 0 || s.root == nil {
		return nil
	}
	at := s.root
	for _, step := range node.Path()[1:] {
		next := at.ElemType
		switch step {
		case "@items", "@values":
		case "@keys":
			next = at.KeyType
		default:
			field, ok := at.Fields[step]
			if !ok {
				return nil
			}
			next = field.Type
		}
		if next == nil {
			return nil
		}
		at = next
	}
	return &checker.SizeEstimate{Min: 0, Max: uint64(at.MaxElements)}
}

func (s *sizes) EstimateCallCost(string, string, *checker.AstNode, []checker.AstNode) *checker.CallEstimate {
	return nil
}

// plain decodes JSON with integers as int64.
func plain(raw json.RawMessage) any {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		panic(err)
	}
	return integers(value)
}

func integers(value any) any {
	switch t := value.(type) {
	case json.Number:
		if i, err := strconv.ParseInt(string(t), 10, 64); err == nil {
			return i
		}
		f, _ := t.Float64()
		return f
	case []any:
		for i := range t {
			t[i] = integers(t[i])
		}
	case map[string]any:
		for k := range t {
			t[k] = integers(t[k])
		}
	}
	return value
}

func tagged(tag string, value any) any { return map[string]any{"t": tag, "v": value} }

func show(value ref.Val) any {
	switch t := value.(type) {
	case types.Null:
		return map[string]any{"t": "null"}
	case types.Bool:
		return tagged("bool", bool(t))
	case types.Int:
		return tagged("int", strconv.FormatInt(int64(t), 10))
	case types.Uint:
		return tagged("uint", strconv.FormatUint(uint64(t), 10))
	case types.Double:
		return tagged("double", strconv.FormatFloat(float64(t), 'g', -1, 64))
	case types.String:
		return tagged("string", string(t))
	case types.Bytes:
		return tagged("bytes", fmt.Sprintf("%x", []byte(t)))
	case types.Timestamp:
		return tagged("timestamp", t.Time.Format(time.RFC3339Nano))
	case types.Duration:
		return tagged("duration", strconv.FormatInt(int64(t.Duration), 10))
	case *types.Optional:
		if !t.HasValue() {
			return map[string]any{"t": "none"}
		}
		return tagged("optional", show(t.GetValue()))
	case *types.Type:
		return tagged("type", t.TypeName())
	case apiservercel.Quantity:
		return tagged("quantity", t.Quantity.String())
	case *apiservercel.Quantity:
		return tagged("quantity", t.Quantity.String())
	case apiservercel.URL:
		return tagged("url", t.URL.String())
	case apiservercel.IP:
		return tagged("ip", t.Addr.String())
	case apiservercel.CIDR:
		return tagged("cidr", t.Prefix.String())
	case apiservercel.Semver:
		return tagged("semver", t.Version.String())
	case apiservercel.Format:
		return tagged("format", t.Name)
	case *apiservercel.Format:
		return tagged("format", t.Name)
	case traits.Lister:
		items := []any{}
		for it := t.Iterator(); it.HasNext() == types.True; {
			items = append(items, show(it.Next()))
		}
		return tagged("list", items)
	case traits.Mapper:
		entries := map[string]any{}
		order := []string{}
		for it := t.Iterator(); it.HasNext() == types.True; {
			key := it.Next()
			shown := show(key)
			name, _ := json.Marshal(shown)
			entries[string(name)] = []any{shown, show(t.Get(key))}
			order = append(order, string(name))
		}
		sort.Strings(order)
		sorted := []any{}
		for _, name := range order {
			sorted = append(sorted, entries[name])
		}
		return tagged("map", sorted)
	}
	return tagged(fmt.Sprintf("%T", value), fmt.Sprint(value))
}

type world struct {
	env    *cel.Env
	schema *spec.Schema
	root   *apiservercel.DeclType
}

func makeWorld(base *environment.EnvSet, raw json.RawMessage) world {
	options := []cel.EnvOption{cel.Variable("obj", cel.DynType), cel.Variable("now", cel.TimestampType)}
	declared := []*apiservercel.DeclType{}
	made := world{}
	if raw != nil {
		made.schema = &spec.Schema{}
		if err := json.Unmarshal(raw, made.schema); err != nil {
			panic(err)
		}
		made.root = common.SchemaDeclType(&openapi.Schema{Schema: made.schema}, false).MaybeAssignTypeName("object")
		declared = append(declared, made.root)
		options = append(options, cel.Variable("self", made.root.CelType()))
	}
	set, err := base.Extend(environment.VersionedOptions{IntroducedVersion: version.MajorMinor(1, 0), EnvOptions: options, DeclTypes: declared})
	if err != nil {
		panic(err)
	}
	if made.env, err = set.Env(environment.StoredExpressions); err != nil {
		panic(err)
	}
	return made
}

func (w world) ask(q question) (a answer) {
	defer func() {
		if r := recover(); r != nil {
			a.Error = fmt.Sprint("PANIC ", r)
		}
	}()
	ast, issues := w.env.Compile(q.Expr)
	if issues.Err() != nil {
		a.CompileError = issues.Err().Error()
		return a
	}
	a.Output = ast.OutputType().String()
	estimate, err := w.env.EstimateCost(ast, &library.CostEstimator{SizeEstimator: &sizes{w.root}})
	if err != nil {
		panic(err)
	}
	a.Min, a.Max = strconv.FormatUint(estimate.Min, 10), strconv.FormatUint(estimate.Max, 10)
	program, err := w.env.Program(ast, cel.CostLimit(10000000))
	if err != nil {
		a.CompileError = "program: " + err.Error()
		return a
	}
	variables := map[string]any{"now": types.Timestamp{Time: time.Unix(1700000000, 0).UTC()}}
	if q.Obj != nil {
		variables["obj"] = plain(q.Obj)
	}
	if q.Self != nil {
		variables["self"] = common.UnstructuredToVal(plain(q.Self), &openapi.Schema{Schema: w.schema})
	}
	value, details, err := program.Eval(variables)
	if err != nil {
		a.Error = err.Error()
		return a
	}
	if details != nil && details.ActualCost() != nil {
		a.Cost = *details.ActualCost()
	}
	a.Value = show(value)
	return a
}

func functions(env *cel.Env) {
	names := []string{}
	for name := range env.Functions() {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		for _, overload := range env.Functions()[name].OverloadDecls() {
			fmt.Println(name, overload.IsMemberFunction(), overload.ID(), overload.ArgTypes(), overload.ResultType())
		}
	}
}

func main() {
	base := environment.MustBaseEnvSet(version.MajorMinor(1, 36))
	if len(os.Args) > 1 && os.Args[1] == "functions" {
		functions(makeWorld(base, nil).env)
		return
	}
	var shared question
	if raw, err := os.ReadFile("../upstream-case.json"); err == nil {
		if err := json.Unmarshal(raw, &shared); err != nil {
			panic(err)
		}
	}
	worlds := map[string]world{}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(make([]byte, 1<<20), 1<<26)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	for in.Scan() {
		var asked question
		if err := json.Unmarshal(in.Bytes(), &asked); err != nil {
			panic(err)
		}
		about := asked
		if asked.On != "" {
			about.Obj, about.Self, about.Schema = shared.Obj, shared.Self, shared.Schema
		}
		w, ok := worlds[string(about.Schema)]
		if !ok {
			w = makeWorld(base, about.Schema)
			worlds[string(about.Schema)] = w
		}
		answered := w.ask(about)
		answered.question = asked
		line, err := json.Marshal(answered)
		if err != nil {
			panic(err)
		}
		out.Write(line)
		out.WriteByte('\n')
	}
}
