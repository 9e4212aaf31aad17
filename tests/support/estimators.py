"""Classifiers of scikit-learn, as the options of the config have them, but small."""

from src.classifiers.sklearn import Sklearn

FOREST = Sklearn(
    estimator="sklearn.ensemble.RandomForestClassifier", parameters={"n_estimators": 20}, standardise=False
)
SVM = Sklearn(estimator="sklearn.svm.SVC", parameters={"C": 10.0}, calibration=5)
MLP = Sklearn(
    estimator="sklearn.neural_network.MLPClassifier",
    parameters={"hidden_layer_sizes": [16], "alpha": 1.0, "learning_rate_init": 0.05, "max_iter": 500},
)
LDA = Sklearn(
    estimator="sklearn.discriminant_analysis.LinearDiscriminantAnalysis",
    parameters={"solver": "lsqr", "shrinkage": "auto"},
    calibration=5,
)
