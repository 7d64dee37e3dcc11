package workgroup

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	t.Parallel()
	reply := func(text string) Command { return Command{Verb: VerbReply, No: "100016", Text: text} }
	for _, tc := range []struct {
		name, text string
		want       Command
	}{
		{"claim", "@管家 接单 #100016", Command{Verb: VerbClaim, No: "100016"}},
		{"claim without spaces", "@管家接单#100016", Command{Verb: VerbClaim, No: "100016"}},
		{"claim, number first", "@管家 #100016 接单", Command{Verb: VerbClaim, No: "100016"}},
		{"claim, no sign", "@管家 接单 100016", Command{Verb: VerbClaim, No: "100016"}},
		{"claim without number", "@管家 接单", Command{Verb: VerbClaim}},
		{"claim with words keeps them", "@管家 接单 #100016 马上到", Command{Verb: VerbClaim, No: "100016", Text: "马上到"}},
		{"number, then words that begin like a claim", "@管家 #100016 接单 马上到", reply("接单 马上到")},
		{"reply", "@管家 #100016 师傅十分钟到", reply("师傅十分钟到")},
		{"reply glued", "@管家#100016师傅十分钟到", reply("师傅十分钟到")},
		{"reply with colon", "@管家 #100016：师傅十分钟到", reply("师傅十分钟到")},
		{"reply keeps its own form", "@管家 #100016 请按“１”，谢谢！①", reply("请按“１”，谢谢！①")},
		{"reply keeps lines", "@管家 #100016 第一行\n第二行", reply("第一行\n第二行")},
		{"reply that begins like a verb", "@管家 #100016 完成了，明天来拿", reply("完成了，明天来拿")},
		{"reply with an emoji family", "@管家 #100016 👨‍👩‍👧好", reply("👨‍👩‍👧好")},
		{"mention at the end", "#100016 师傅十分钟到 @管家", reply("师傅十分钟到")},
		{"mention with a thin space", "@管家\u2005#100016 好的", reply("好的")},
		{"another mention first", "@张三 @管家 #100016 好的", reply("好的")},
		{"no mention (1:1 chat)", "#100016 好的", reply("好的")},
		{"full-width sign", "@管家 ＃１０００１６ 好的", reply("好的")},
		{"small sign", "@管家 ﹟100016 好的", reply("好的")},
		{"music sharp", "@管家 ♯100016 好的", reply("好的")},
		{"keycap", "@管家 #️⃣100016 好的", reply("好的")},
		{"space after the sign", "@管家 # 100016 好的", reply("好的")},
		{"invisible characters", "@管\u200b家 \ufeff接\u200d单 #10\u200b0016", Command{Verb: VerbClaim, No: "100016"}},
		{"direction marks", "\u202e@管家 #100016 好的\u202c", reply("好的")},
		{"full-width name", "＠管家 接单 #100016", Command{Verb: VerbClaim, No: "100016"}},
		{"number alone", "@管家 #100016", Command{Verb: VerbShow, No: "100016"}},
		{"note", "@管家 #100016 备注 已联系厂家", Command{Verb: VerbNote, No: "100016", Text: "已联系厂家"}},
		{"note, verb first", "@管家 备注 #100016 已联系厂家", Command{Verb: VerbNote, No: "100016", Text: "已联系厂家"}},
		{"transfer", "@管家 转派 #100016 秩序维护 门禁属于门岗 管理", Command{Verb: VerbTransfer, No: "100016", Queue: "秩序维护", Reason: "门禁属于门岗 管理"}},
		{"transfer, number first", "@管家 #100016 转派 秩序维护 归门岗", Command{Verb: VerbTransfer, No: "100016", Queue: "秩序维护", Reason: "归门岗"}},
		{"transfer without reason", "@管家 转派 #100016 秩序维护", Command{Verb: VerbTransfer, No: "100016", Queue: "秩序维护"}},
		{"done", "@管家 完成 #100016 更换门机皮带", Command{Verb: VerbDone, No: "100016", Text: "更换门机皮带"}},
		{"done, number first", "@管家 #100016 完成 更换门机皮带", Command{Verb: VerbDone, No: "100016", Text: "更换门机皮带"}},
		{"done without measures", "@管家 完成 #100016", Command{Verb: VerbDone, No: "100016"}},
		{"recall", "@管家 撤回 #100016", Command{Verb: VerbRecall, No: "100016"}},
		{"recall, number first", "@管家 #100016 撤回", Command{Verb: VerbRecall, No: "100016"}},
		{"return", "@管家 退单 #100016 正在别处抢修", Command{Verb: VerbReturn, No: "100016", Text: "正在别处抢修"}},
		{"promise", "@管家 改期 #100016 明天12:00 配件明天才到", Command{Verb: VerbPromise, No: "100016", Text: "明天12:00 配件明天才到"}},
		{"override", "@管家 放行 #100016 我不清楚您几点在家", Command{Verb: VerbOverride, No: "100016", Text: "我不清楚您几点在家"}},
		{"approve", "@管家 同意 #100016", Command{Verb: VerbApprove, No: "100016"}},
		{"approve, number first", "@管家 #100016 同意", Command{Verb: VerbApprove, No: "100016"}},
		{"number, then words that begin like an approval", "@管家 #100016 同意 您的建议", reply("同意 您的建议")},
		{"reject", "@管家 驳回 #100016 请写明几点到", Command{Verb: VerbReject, No: "100016", Text: "请写明几点到"}},
		{"a sentence with agree", "@管家 同意了吗", Command{Verb: VerbHelp, Text: "同意了吗"}},
		{"mine", "@管家 我的", Command{Verb: VerbMine}},
		{"waiting", "@管家 待接单。", Command{Verb: VerbWaiting}},
		{"help", "@管家 帮助", Command{Verb: VerbHelp}},
		{"mention alone", "@管家", Command{Verb: VerbHelp}},
		{"thanks stays inside", "@管家 谢谢", Command{Verb: VerbHelp, Text: "谢谢"}},
		{"sentence with mine", "@管家 我的水管坏了", Command{Verb: VerbHelp, Text: "我的水管坏了"}},
		{"done as a sentence", "@管家 完成了吗", Command{Verb: VerbHelp, Text: "完成了吗"}},
		{"bind queue", "@管家 绑定 工程维修", Command{Verb: VerbBindQueue, Queue: "工程维修"}},
		{"bind queue glued", "@管家 绑定工程维修", Command{Verb: VerbBindQueue, Queue: "工程维修"}},
		{"bind phone", "@管家 绑定 １３８０００００００１", Command{Verb: VerbBindPhone, Phone: "13800000001"}},
		{"bind phone with spaces", "@管家 绑定 +86 138-0000-0001", Command{Verb: VerbBindPhone, Phone: "+86 138-0000-0001"}},
		{"code", "@管家 385012", Command{Verb: VerbCode, Code: "385012"}},
		{"seven digits are no code", "@管家 3850123", Command{Verb: VerbHelp, Text: "3850123"}},
		{"notice", "@管家 通知 突发停水 3栋,4栋 水管爆裂", Command{Verb: VerbNotice, Text: "突发停水 3栋,4栋 水管爆裂"}},
		{"notice restored", "@管家 通知 恢复 T0012", Command{Verb: VerbNotice, Text: "恢复 T0012"}},
		{"confirm", "@管家 确认发送", Command{Verb: VerbConfirm}},
		{"cancel", "@管家 取消", Command{Verb: VerbCancel}},
		{"confirm one of several", "@管家 确认发送 t００12", Command{Verb: VerbConfirm, Notice: "T0012"}},
		{"cancel glued", "@管家取消T0012。", Command{Verb: VerbCancel, Notice: "T0012"}},
		{"cancel as a sentence", "@管家 取消昨天的预约", Command{Verb: VerbHelp, Text: "取消昨天的预约"}},
		{"cancel with words that would be lost", "@管家 取消 T0012 的短信", Command{Verb: VerbHelp, Text: "取消 T0012 的短信"}},
		{"a short number is none", "@管家 取消 T12", Command{Verb: VerbHelp, Text: "取消 T12"}},
		{"pause", "@管家 暂停 T0012", Command{Verb: VerbPause, Notice: "T0012"}},
		{"go on, as a sentence", "@管家 继续努力", Command{Verb: VerbHelp, Text: "继续努力"}},
		{"call list", "@管家 电话名单 T0012", Command{Verb: VerbCalls, Notice: "T0012"}},
		{"called", "@管家 已电话 T0012 3-2-1201 本人已知晓，谢谢", Command{Verb: VerbCalled, Notice: "T0012", Unit: "3-2-1201", Text: "本人已知晓，谢谢"}},
		{"called without a result", "@管家 已电话 T0012 3-2-1201", Command{Verb: VerbCalled, Notice: "T0012", Unit: "3-2-1201"}},
		{"will call", "@管家 我来打 T0012 3-2-1201", Command{Verb: VerbCalling, Notice: "T0012", Unit: "3-2-1201"}},
		{"ten digits are a number all the same", "@管家 #1000161234 好的", Command{Verb: VerbReply, No: "1000161234", Text: "好的"}},
		{"name that begins with another name", "@管家婆 #100016 好的", reply("好的")},
		{"empty", "", Command{Verb: VerbHelp}},
		{"invalid bytes", "@管家 \xff\xfe", Command{Verb: VerbHelp, Text: "\uFFFD"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, Parse(tc.text, "管家")); diff != "" {
				t.Errorf("Parse(%q) (-want +got):\n%s", tc.text, diff)
			}
		})
	}
}

func TestParseNameWithSpace(t *testing.T) {
	t.Parallel()
	got := Parse("@小 管家 接单 #100016", "小 管家")
	if want := (Command{Verb: VerbClaim, No: "100016"}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	got := Numbers("收到 #100016，＃100025 和 #100016，#12 不算，#1234567890 也不算")
	if diff := cmp.Diff([]string{"100016", "100025"}, got); diff != "" {
		t.Error(diff)
	}
}

// FuzzParse holds what must be true of any text: no panic, nothing that leaves
// the group without a number, and no words that the member didn't type.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"@管家 接单 #100016", "@管家 #100016 师傅十分钟到", "转派 #100016 秩序维护 原因", "@管家 绑定 13800000001", "＃１００", "@", "#", "@管家#\u20e3\ufe0f1", "\x00\xff", "完成#1",
		"@管家 #100016 👨‍👩‍👧", "@管家@管家 #1 #2",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := Parse(s, "管家")
		switch c.Verb {
		case VerbReply:
			if c.No == "" || c.Text == "" {
				t.Fatalf("reply without number or words: %+v", c)
			}
		case VerbShow:
			if c.No == "" {
				t.Fatalf("show without number: %+v", c)
			}
		case VerbCode:
			if len(c.Code) != 6 {
				t.Fatalf("code %q", c.Code)
			}
		}
		if strings.Trim(c.No, "0123456789") != "" {
			t.Fatalf("number %q holds more than digits", c.No)
		}
		for _, words := range []string{c.Text, c.Queue, c.Reason} {
			if !utf8.ValidString(words) {
				t.Fatalf("words are no UTF-8: %q", words)
			}
			if len(words) > 3*len(s)+8 {
				t.Fatalf("words grew from %d to %d bytes", len(s), len(words))
			}
		}
		for _, no := range Numbers(s) {
			if len(no) < 6 || len(no) > 9 {
				t.Fatalf("number %q", no)
			}
		}
	})
}
