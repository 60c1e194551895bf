"""What all models with LSTM layers share: the layers, and how they begin."""

from __future__ import annotations

from torch import nn


def lstm_layers(inputs: int, width: int, layers: int, dropout: float) -> nn.LSTM:
    """Make layers with Glorot weights, forget gates open and events that are heard at once.

    Glorot's range for the one-hot input, as Performance RNN has it, leaves the first few hundred
    steps on the plateau of predicting frequencies.
    """
    between = dropout if layers > 1 else 0.0
    lstm = nn.LSTM(inputs, width, layers, batch_first=True, dropout=between)
    for name, parameter in lstm.named_parameters():
        if name.startswith("weight"):
            for gate in parameter.chunk(4):
                nn.init.xavier_uniform_(gate)
        else:
            nn.init.zeros_(parameter)
            if name.startswith("bias_ih"):  # the forget gate starts open: BasicLSTMCell
                parameter.data[width : 2 * width] = 1.0
    # One of the inputs is on at a time: its column is all that a cell hears of the event.
    nn.init.normal_(lstm.get_parameter("weight_ih_l0"), std=0.5)
    return lstm


def output_layer(width: int, vocabulary_size: int) -> nn.Linear:
    """Make the layer that gives logits, at first nearly even ones."""
    output = nn.Linear(width, vocabulary_size)
    nn.init.xavier_uniform_(output.weight)
    nn.init.zeros_(output.bias)
    return output
