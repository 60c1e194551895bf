"""A mistake is one line on standard error and exit code 2; a bug keeps its traceback."""

import pytest

from espressivo import cli


def one_line(result):
    code, out, err = result
    assert (code, out) == (2, "")
    assert err.count("\n") == 1, err
    assert err.startswith("espressivo")
    return err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "required"),
        (["sing"], "invalid choice: 'sing'"),
        (["generate"], "-o/--output"),
        (["generate", "-o", "a.mid", "--tempo", "9"], "does not know --tempo"),
        (["plot", "a.mid", "b=c"], "does not know b=c"),
        (["plot", "missing.mid"], "missing.mid"),
        (["plot", "missing.mid", "-o", "a.gif"], "a.gif must end in .png, .svg"),
        (["render", "missing.mid", "-o", "a.txt"], "a.txt must end in .wav, .flac, .ogg, .mp3"),
        (["generate", "-o", "a.mid", "--audio", "a.txt"], "a.txt must end in"),
        (["generate", "-o", "-", "--takes", "2"], "cannot share standard output"),
        (["generate", "-o", "a.mid", "--model", "nobody"], "'nobody' is neither"),
        (["inspect", "nothing"], "'nothing' is neither"),
        (["presets", "performance-rn"], "did you mean performance-rnn"),
        (["train", "performance-rnn-tiny", "c", "-o", "r", "--deadline", "soon"], "write 90s"),
        (["train", "performance-rnn-tiny", "c", "-o", "r", "model.layer=2"], "model.layers"),
        (["evaluate", "nobody", "--corpus", "c"], "'nobody' is neither"),
        (["evaluate", "nobody"], "--corpus --midi"),
        (["prepare", "nowhere", "-o", "c"], "nowhere"),
        (["replay", "missing.mid"], "missing.mid"),
    ],
)
def test_a_mistake_is_told_in_one_line(run, words, message):
    assert message in one_line(run(*words))


def test_takes_and_seconds_must_make_sense(run, model):
    assert "takes=0" in one_line(run("generate", "-o", "a.mid", "--model", model, "--takes", "0"))
    assert "seconds=-1" in one_line(
        run("generate", "-o", "a.mid", "--model", model, "--seconds", "-1")
    )


def test_a_file_that_is_no_midi_is_named(run, tmp_path):
    (tmp_path / "words.mid").write_text("no music")
    assert "words.mid" in one_line(run("inspect", "words.mid"))


def test_a_damaged_checkpoint_is_named(run, model, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in model.iterdir():
        content = bytearray(file.read_bytes())
        if file.suffix == ".safetensors":
            content[-1] ^= 1
        (copy / file.name).write_bytes(content)
    message = one_line(run("generate", "-o", "a.mid", "--model", "copy"))
    assert "model.safetensors is damaged" in message


def test_a_bug_is_not_dressed_up_as_a_mistake(run, monkeypatch):
    def broken(facts, as_json):
        raise ZeroDivisionError

    monkeypatch.setattr(cli.printing, "result", broken)
    with pytest.raises(ZeroDivisionError):
        run("presets")


def test_whoever_stops_reading_is_no_error(process, samples):
    reading = process("presets", "--json", bufsize=0)
    reading.stdout.close()
    assert reading.wait() == 1
    assert "Traceback" not in reading.stderr.read()
